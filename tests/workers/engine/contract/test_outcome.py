"""What a model wrote can be stored whatever it wrote."""

from workers.engine.contract.outcome import storable


def test_text_that_no_database_keeps_is_replaced_sign_by_sign():
    assert storable("a\0b") == "a\ufffdb"
    assert storable("half \ud800 left") == "half ? left"
    assert storable("ça 😀") == "ça 😀"

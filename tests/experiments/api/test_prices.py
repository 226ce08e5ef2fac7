import pytest

from experiments.models import PriceBook

TYPED = {"name": "2026", "currency": "eur", "effective_on": "2026-01-01", "device_hour": "0.42"}


def test_price_left_out_is_null_and_never_zero(call):
    answer = call("post", "price-books", TYPED)

    assert answer.status_code == 201
    assert (answer.json()["device_hour"], answer.json()["wrong_answer"], answer.json()["currency"]) == ("0.42", None, "EUR")
    assert call("get", "price-books").json()["count"] == 1


@pytest.mark.parametrize(
    "change", [{"device_hour": -1}, {"device_hour": "NaN"}, {"device_hour": 1e20}, {"currency": "EURO"}, {"effective_on": "soon"}]
)
def test_impossible_prices_are_refused(call, change):
    assert call("post", "price-books", TYPED | change).status_code == 422
    assert not PriceBook.objects.exists()

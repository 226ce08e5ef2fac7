"""Which approach runs on which family: the reader of the table that the engine's golden tests prove."""

from experiments.catalogue.capabilities import capability_of, families, method_names
from experiments.catalogue.recipes import CATALOGUE
from experiments.reads.families import family_table


def test_every_approach_that_asks_a_model_is_in_the_table():
    without_model = {"majority", "label_overlap", "tfidf_logreg"}
    only_written = {"prompt_search", "dspy_search"}

    assert set(method_names()) == {kind.method for kind in CATALOGUE.values()} - without_model - only_written


def test_a_refusal_and_a_slower_path_come_with_a_reason_and_a_usual_cell_without():
    for family in families().values():
        for method, capability in family.methods.items():
            assert bool(capability.reason) == (capability.path not in ("shared", "runs")), (family.key, method)


def test_a_family_that_was_never_tried_is_left_to_the_engine():
    assert capability_of("falcon", CATALOGUE["lora"]) is None
    assert capability_of(None, CATALOGUE["lora"]) is None


def test_prefix_tuning_is_refused_where_there_are_no_keys_and_values():
    refused = capability_of("mamba", CATALOGUE["prefix"])

    assert refused is not None
    assert refused.is_refused
    assert "running state" in refused.reason


def test_prefix_on_an_encoder_decoder_runs():
    known = capability_of("t5", CATALOGUE["prefix"])

    assert known is not None
    assert known.is_slower
    assert "decoder only" in known.note


def test_the_page_says_that_this_prefix_is_for_the_decoder_only():
    table = family_table()
    [t5] = [row for row in table["rows"] if row["family"].key == "t5"]
    [prefix] = [cell for cell in t5["cells"] if cell.method == "Prefix"]

    assert any("decoder only" in table["notes"][number - 1] for number in prefix.notes)


def test_an_approach_that_does_not_do_what_its_method_does_has_a_cell_of_its_own():
    refused = capability_of("qwen3_next", CATALOGUE["dora"])
    plain = capability_of("qwen3_next", CATALOGUE["lora"])

    assert refused is not None
    assert refused.is_refused
    assert plain is not None
    assert not plain.is_refused
    assert f"DoRA: {refused.reason}" in family_table()["notes"]

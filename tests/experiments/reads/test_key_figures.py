"""The figures that are read first stand in one order, say what qualifies them and never claim what is not known."""

import pytest

from experiments.reads.key_figures import Pays, key_figures

BETTER = {"value": 0.5, "low": 0.46, "high": 0.54, "verdict": "better"}


def row(key, family, accuracy, **overrides):
    known = {"approach": key, "name": key.title(), "family": family, "method": "lora", "accuracy": accuracy, "delta": None}
    return known | {"low": accuracy - 0.02, "high": accuracy + 0.02} | overrides


def table(*rows, best="lora", baseline="prompt", **money):
    ledger = {"rows": [{"approach": best, **money}], "demand": {"requests": "1200000", "months": 12}}
    return {"rows": rows, "best": best, "baseline": baseline, "money": ledger}


PROMPT, LORA = row("prompt", "engineered", 0.35), row("lora", "tuned", 0.85, delta=BETTER)


def test_the_best_stands_against_the_best_written_prompt_with_the_tone_of_the_verdict():
    figures = key_figures(table(PROMPT, LORA))

    assert figures.best["name"] == "Lora"
    assert figures.best["delta"]["tone"] == "delta-better"
    assert figures.baseline == PROMPT
    assert not figures.by_choice


def test_a_best_that_is_the_baseline_is_measured_against_nothing_and_has_nothing_to_pay_back():
    figures = key_figures(table(PROMPT, best="prompt", break_even=None))

    assert figures.baseline is None
    assert figures.pays == Pays("Pays", "at once", ("nothing has to be paid back",))


def test_a_plain_classifier_as_baseline_is_not_called_a_written_prompt():
    plain = row("tfidf", "baseline", 0.4)

    assert key_figures(table(plain, LORA, baseline="tfidf")).by_choice


def test_a_volume_is_told_as_months_of_the_assumed_demand_and_again_with_wrong_answers_priced():
    pays = key_figures(
        table(PROMPT, LORA, break_even={"pays": "from", "requests": 168_517}, break_even_with_mistakes={"pays": "always", "requests": None})
    ).pays

    assert pays == Pays("Pays from", "168,517 requests", ("1.7 months at 100,000 a month", "with wrong answers priced: at every volume"))


@pytest.mark.parametrize(
    ("found", "name", "value"),
    [
        ({"pays": "until", "requests": 20}, "Pays up to", "20 requests"),
        ({"pays": "never", "requests": None}, "Pays", "at no volume"),
        ({"pays": "equal", "requests": None}, "Pays", "neither more nor less"),
        ({"pays": "sometimes", "requests": 7}, "Pays first at", "7 requests"),
    ],
)
def test_every_kind_of_break_even_has_words(found, name, value):
    pays = key_figures(table(PROMPT, LORA, break_even=found)).pays

    assert (pays.name, pays.value) == (name, value)
    assert pays.notes == ("wrong answers not priced",)


def test_an_unknown_break_even_says_what_is_missing_and_names_no_number():
    missing = {"pays": "unknown", "requests": None, "sentence": "Unknown: the price of a device-hour is missing."}

    pays = key_figures(table(PROMPT, LORA, break_even=missing)).pays

    assert pays == Pays("Pays from", "unknown", ("the price of a device-hour is missing.",))


def test_a_table_without_rows_has_no_figures():
    assert key_figures({"rows": []}) is None


def test_a_volume_stands_with_its_range_and_one_within_the_spread_is_not_named():
    sure = {"pays": "from", "requests": 72_001, "low": 60_001, "high": 96_001}

    assert key_figures(table(PROMPT, LORA, break_even=sure)).pays.notes[0] == "between 60,001 and 96,001, as far as the measurements vary"
    assert key_figures(table(PROMPT, LORA, break_even={"pays": "unclear", "requests": None})).pays == Pays(
        "Pays", "too close to call", ("the measurements vary more than the costs differ", "wrong answers not priced")
    )


def test_one_measurement_of_speed_is_said_to_be_one():
    figures = key_figures(table(PROMPT, LORA, passes=1, break_even={"pays": "from", "requests": 9}))

    assert figures.pays.notes[0] == "by one measurement of its speed"


def test_a_baseline_that_was_measured_once_is_not_taken_for_the_best():
    payload = table(PROMPT, LORA, passes=2, break_even={"pays": "from", "requests": 6_236, "low": 5_095, "high": 6_236})
    payload["money"]["rows"].append({"approach": "prompt", "passes": 1})

    assert key_figures(payload).pays.notes[0] == "by one measurement of the baseline's speed"


def test_a_shared_first_place_is_said_and_what_cannot_be_told_apart_is_counted():
    dear, cheap = ({"cost": {"per_thousand": amount}} for amount in ("0.00199", "0.0000101"))
    rows = [PROMPT, row("soft", "tuned", 0.85, **dear), row("lora", "tuned", 0.85, **dear), row("tfidf", "baseline", 0.85, **cheap)]
    payload = table(*rows, best="tfidf")

    assert key_figures(payload).beside == ("3 approaches are right as often; it costs least",)
    assert key_figures(payload | {"equals": ["soft", "lora", "prompt"]}).beside[1] == "1 more is not detectably different"
    assert key_figures(table(PROMPT, LORA) | {"equals": ["prompt"]}).beside == ("1 other is not detectably different",)
    assert key_figures(table(PROMPT, LORA)).beside == ()

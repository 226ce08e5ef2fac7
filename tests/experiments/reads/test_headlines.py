"""The sentence that is read first says who is best, how sure that is, and never more than the test allows."""

import pytest

from experiments.reads.headlines import headline


def row(key, family, accuracy, **overrides):
    return {
        "approach": key,
        "name": key.title(),
        "family": family,
        "accuracy": accuracy,
        "low": accuracy - 0.02,
        "high": accuracy + 0.02,
        "delta": None,
    } | overrides


def table(*rows, best, baseline="prompt", money=None):
    lines = [{"approach": best, "break_even": money}] if money else []
    return {"rows": rows, "best": best, "baseline": baseline, "split": "test", "n": 3080, "money": {"rows": lines}}


BETTER = {"value": 0.54, "low": 0.52, "high": 0.56, "verdict": "better"}
SAME = {"value": 0.01, "low": -0.01, "high": 0.03, "verdict": "no detectable difference"}


def test_a_clear_winner_with_its_difference_and_its_break_even():
    rows = [row("prompt", "engineered", 0.35), row("lora", "tuned", 0.89, delta=BETTER)]

    assert headline(table(*rows, best="lora", money={"pays": "from", "requests": 65_350})) == (
        "On 3,080 test rows, Lora answered 89.0% right (87.0% to 91.0%). "
        "That is 54.0 points (52.0 to 56.0) more than the best written prompt, Prompt, with 35.0%. "
        "Lora pays from 65,350 requests on, with wrong answers not priced."
    )


def test_no_winner_is_claimed_where_the_difference_cannot_be_detected():
    rows = [row("prompt", "engineered", 0.88), row("lora", "tuned", 0.89, delta=SAME)]

    assert "not detectably different from the best written prompt, Prompt, with 88.0% (−1.0 to +3.0 points)" in headline(
        table(*rows, best="lora")
    )


def test_a_chosen_baseline_is_not_called_the_best_prompt():
    rows = [row("prompt", "engineered", 0.35), row("lora", "tuned", 0.89, delta=BETTER)]

    assert "more than Prompt with 35.0%" in headline(table(*rows, best="lora") | {"baseline_chosen": True})


def test_an_interval_beside_zero_is_explained_when_the_correction_keeps_it_open():
    crowded = {**SAME, "low": 0.002, "num_compared": 9}
    rows = [row("prompt", "engineered", 0.88), row("lora", "tuned", 0.89, delta=crowded)]

    assert "the interval excludes 0, but among 9 comparisons that may be chance" in headline(table(*rows, best="lora"))


def test_a_plain_baseline_that_comes_close_or_wins_is_said():
    rows = [row("prompt", "engineered", 0.5), row("lora", "tuned", 0.89, delta=BETTER), row("tfidf", "baseline", 0.88)]
    assert "The plain baseline Tfidf comes close with 88.0%." in headline(table(*rows, best="lora"))

    rows = [row("lora", "tuned", 1.0), row("tfidf", "baseline", 1.0)]
    assert "Tfidf is right as often: no language model is needed for this." in headline(table(*rows, best="lora"))

    rows = [row("prompt", "engineered", 0.5), row("tfidf", "baseline", 0.95, delta=BETTER)]
    assert "no language model is needed" in headline(table(*rows, best="tfidf"))


def test_written_prompt_that_nothing_beats():
    assert headline(table(row("prompt", "engineered", 0.9), best="prompt")).endswith("No other approach did better.")


def test_unknown_prices_leave_money_out():
    rows = [row("prompt", "engineered", 0.35), row("lora", "tuned", 0.89, delta=BETTER)]

    assert "pays" not in headline(table(*rows, best="lora", money={"pays": "unknown", "requests": None}))


@pytest.mark.parametrize(
    ("found", "passes", "words"),
    [
        ({"pays": "from", "requests": 72_001, "low": 60_001, "high": 96_001}, 2, "on (between 60,001 and 96,001, as far as"),
        ({"pays": "from", "requests": 72_001}, 1, "Lora pays from 72,001 requests on (by one measurement of its speed), with wrong"),
        ({"pays": "unclear", "requests": None}, 2, "Whether Lora costs less is too close to call"),
    ],
)
def test_a_volume_is_as_sure_as_its_measurements(found, passes, words):
    rows = [row("prompt", "engineered", 0.35), row("lora", "tuned", 0.89, delta=BETTER)]
    payload = table(*rows, best="lora", money=found)
    payload["money"]["rows"][0]["passes"] = passes

    assert words in headline(payload)


def test_an_empty_table_has_no_headline():
    assert headline({"rows": []}) == ""


def test_those_that_share_the_first_place_are_named_and_that_they_cost_more_only_where_it_is_known():
    dear, cheap = ({"cost": {"per_thousand": amount}} for amount in ("0.00199", "0.0000101"))
    soft, lora = (row(key, "tuned", 0.989, **dear) for key in ("soft", "lora"))

    plain = row("tfidf", "baseline", 0.989, **cheap)

    assert "Soft and Lora are right as often and cost more." in headline(table(soft, lora, plain, best="tfidf"))
    assert headline(table(soft, lora, best="soft")).endswith("Lora is right as often.")

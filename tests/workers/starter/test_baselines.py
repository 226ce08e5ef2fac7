from __future__ import annotations

import pytest

from workers.starter import baselines


def test_the_wilson_interval_of_a_known_case() -> None:
    assert baselines.wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert baselines.wilson(0, 10)[0] == pytest.approx(0.0, abs=1e-9)


def test_a_lead_is_judged_by_the_rows_on_which_the_two_differ() -> None:
    right = ["a"] * 100
    said, others = ["a"] * 70 + ["b"] * 30, ["a"] * 60 + ["b"] * 40
    found, low, high = baselines.lead(said, others, right)
    # Ten rows speak for the first and none for the second: sqrt(0.1 - 0.01) / sqrt(100) on each side.
    assert (found, low, high) == pytest.approx((0.1, 0.1 - 1.96 * 0.03, 0.1 + 1.96 * 0.03))
    assert baselines.lead(others, said, right)[0] == pytest.approx(-0.1)


def test_majority_takes_the_commonest_training_label_among_the_options() -> None:
    assert baselines.majority(["a", "b", "b"], [["a", "b"], ["a", "c"]]) == ["b", "a"]


def test_word_overlap_takes_the_option_whose_words_are_in_the_text() -> None:
    options = [["lost card", "exchange rate"]] * 2
    assert baselines.word_overlap(["what are your exchange rates", "hello"], options) == ["exchange rate", "lost card"]

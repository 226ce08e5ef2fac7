from __future__ import annotations

import pytest

from workers.starter import baselines


def test_the_wilson_interval_of_a_known_case() -> None:
    assert baselines.wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert baselines.wilson(0, 10)[0] == pytest.approx(0.0, abs=1e-9)


def test_majority_takes_the_commonest_training_label_among_the_options() -> None:
    assert baselines.majority(["a", "b", "b"], [["a", "b"], ["a", "c"]]) == ["b", "a"]


def test_word_overlap_takes_the_option_whose_words_are_in_the_text() -> None:
    options = [["lost card", "exchange rate"]] * 2
    assert baselines.word_overlap(["what are your exchange rates", "hello"], options) == ["exchange rate", "lost card"]

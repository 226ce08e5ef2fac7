import math

import pytest

from workers.engine.contract.answer_rules import AnswerFormat
from workers.engine.contract.outcome import Metrics, Prediction, RunResult
from workers.engine.figures.formats import FormatChecker
from workers.engine.figures.metrics import classification_metrics, extraction_metrics, label_shares


def prediction(expected, predicted, error=None, skipped=False):
    scores = {} if error else {"a": 0.0 if predicted == "a" else -2.0, "b": 0.0 if predicted == "b" else -2.0}
    return Prediction("1", expected, predicted=predicted, loglikelihoods=scores, error=error, skipped=skipped)


def test_every_row_counts_and_a_row_without_answer_is_wrong():
    rows = [prediction("a", "a"), prediction("b", "b"), prediction("b", None, error="too long", skipped=True)]

    metrics = classification_metrics(rows, ("a", "b"), seconds=2.0)

    assert (metrics.n, metrics.correct, metrics.skipped, metrics.errors) == (3, 2, 1, 0)
    assert metrics.accuracy == pytest.approx(2 / 3)
    assert metrics.per_label["b"] == {"support": 2, "predicted": 1, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    assert metrics.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.rows_per_second == 1.5


def test_log_loss_is_the_mean_surprise_at_the_expected_label():
    metrics = classification_metrics([prediction("a", "a"), prediction("a", "b")], ("a", "b"), 1.0)

    sure = 1 / (1 + math.exp(-2))
    assert metrics.log_loss == pytest.approx(-(math.log(sure) + math.log(1 - sure)) / 2)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    metrics = classification_metrics([prediction("a", "a"), prediction("a", "b")], ("a", "b"), 1.0)

    assert metrics.calibration_error == pytest.approx(1 / (1 + math.exp(-2)) - 0.5)


def test_shares_of_very_small_scores_still_add_up():
    assert sum(label_shares({"a": -9000.0, "b": -9001.0}).values()) == pytest.approx(1.0)


def test_free_answers_count_every_row_and_one_without_an_answer_as_nothing():
    rows = [Prediction("1", "12 May", text="12 may."), Prediction("2", "x", text="x", error="broken")]

    metrics = extraction_metrics(rows, FormatChecker(AnswerFormat(pattern=r"\d+ \w+")), 1.0)

    assert (metrics.accuracy, metrics.exact_match, metrics.token_f1, metrics.rouge_l, metrics.errors) == (0.5, 0.5, 0.5, 0.5, 1)
    assert metrics.format_share == 0.0
    assert [row.format_problem for row in rows] == ["It does not match the pattern.", None]


def test_without_a_form_to_keep_there_is_no_share_of_answers_that_keep_it():
    metrics = extraction_metrics([Prediction("1", "a", text="a")], FormatChecker(AnswerFormat()), 1.0)

    assert metrics.format_share is None


def test_numbers_that_are_not_finite_become_null():
    result = RunResult("1", "succeeded", "hard_prompt", {}, 0, metrics={"test": Metrics(0, 0, 0, 0, math.nan)})

    assert result.to_json()["metrics"]["test"]["accuracy"] is None

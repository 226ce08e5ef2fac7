"""Metrics of one evaluation, computed from its stored predictions and nothing else. All rows count; one without an answer is wrong."""

from experiments.evidence.confusion import confusion_build, macro_f1_estimate
from experiments.evidence.rates import Estimate, wilson_rate
from experiments.models import Evaluation, Prediction, Score
from experiments.models.datasets import Task

ACCURACY = "correct / all rows; Wilson 95 %"
MACRO_F1 = "mean F1 of the labels that occur; bootstrap 95 %, 2,000 draws, seed 0"
NO_ROWS = Estimate(None, reason="There are no rows.")


def scores_compute(*, evaluation: Evaluation, attempt_id: int) -> list[Score]:
    """Unsaved scores of an attempt's predictions: accuracy and, for a classification, macro-F1, each with its interval."""
    mine = Prediction.objects.filter(evaluation=evaluation, attempt=attempt_id)
    rows = list(mine.values_list("example__label", "predicted", "error", "correct"))
    scores = [_score(evaluation, "accuracy", len(rows), _accuracy([correct for *_, correct in rows]), ACCURACY)]
    if evaluation.dataset_version.task == Task.CLASSIFICATION:
        answers = [(expected, None if error else predicted) for expected, predicted, error, _ in rows]
        scores.append(_score(evaluation, "macro_f1", len(rows), _macro_f1(answers, evaluation.dataset_version.labels), MACRO_F1))
    return scores


def _accuracy(correct: list[bool]) -> Estimate:
    if not correct:
        return NO_ROWS
    rate = wilson_rate(sum(correct), len(correct))
    return Estimate(rate.value, rate.low, rate.high)


def _macro_f1(answers: list[tuple[str, str | None]], labels: list[str]) -> Estimate:
    if not answers:
        return NO_ROWS
    return macro_f1_estimate(confusion_build([expected for expected, _ in answers], [given for _, given in answers], labels))


def _score(evaluation: Evaluation, metric: str, n: int, estimate: Estimate, signature: str) -> Score:
    interval = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "reason": estimate.reason or ""}
    return Score(evaluation=evaluation, metric=metric, n=n, signature=signature, **interval)

"""Metrics of one evaluation, computed from its stored predictions and nothing else. All rows count; one without an answer is wrong."""

from experiments.evidence.confusion import confusion_build, macro_f1_estimate
from experiments.evidence.means import mean_estimate
from experiments.evidence.rates import Estimate, wilson_rate
from experiments.models import Evaluation, Prediction, Score, Split
from experiments.models.datasets import Task

ACCURACY = "correct / all rows; Wilson 95 %"
MACRO_F1 = "mean F1 of the labels that occur; bootstrap 95 %, 2,000 draws, seed 0"
EXACT_MATCH = "exact match (SQuAD, numbers as written) / all rows; Wilson 95 %"
BOOTSTRAP = "mean over all rows; bootstrap 95 %, 2,000 draws, seed 0"
CLOSENESS = {
    "token_f1": "token F1 (SQuAD)",
    "rouge_l": "ROUGE-L F1",
    "chrf": "chrF of each row (sacrebleu, n 6, beta 2)",
    "format": "share that keeps the asked form",
}
NO_ROWS = Estimate(None, reason="There are no rows.")


def scores_compute(*, evaluation: Evaluation, attempt_id: int) -> list[Score]:
    """Unsaved scores of an attempt's predictions: accuracy and macro-F1, or, of free answers, exact match and how close they come.

    Answers to unlabelled rows have none: nobody knows which of them are right.
    """
    if evaluation.split == Split.UNLABELLED:
        return []
    mine = Prediction.objects.filter(evaluation=evaluation, attempt=attempt_id)
    if evaluation.dataset_version.task == Task.EXTRACTION:
        return _text_scores(evaluation, list(mine.values_list("correct", "quality")))
    rows = list(mine.values_list("example__label", "predicted", "error", "correct"))
    scores = [_score(evaluation, "accuracy", len(rows), _accuracy([correct for *_, correct in rows]), ACCURACY)]
    answers = [(expected, None if error else predicted) for expected, predicted, error, _ in rows]
    return [*scores, _score(evaluation, "macro_f1", len(rows), _macro_f1(answers, evaluation.dataset_version.labels), MACRO_F1)]


def _text_scores(evaluation: Evaluation, rows: list[tuple[bool, dict[str, float] | None]]) -> list[Score]:
    """Exact match under the name of the headline, and the mean of each figure that the rows carry. No answer counts 0."""
    scores = [_score(evaluation, "accuracy", len(rows), _accuracy([correct for correct, _ in rows]), EXACT_MATCH)]
    for metric, how in CLOSENESS.items():
        values = [(quality or {}).get(metric) for _, quality in rows]
        if any(value is not None for value in values):
            found = mean_estimate([value or 0.0 for value in values])
            scores.append(_score(evaluation, metric, len(rows), found, f"{how}; {BOOTSTRAP}"))
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

"""Figures from predictions. Pure; no torch, no files."""

import math
from collections.abc import Mapping, Sequence

from workers.engine.contract.outcome import Metrics, Prediction
from workers.engine.contract.spec import EvaluateOn, RunSpec
from workers.engine.figures.formats import FormatChecker
from workers.engine.figures.text_quality import chrf, exact_match, rouge_l, token_f1

_CALIBRATION_BINS = 10
# How close a free answer comes to its reference, row by row.
CLOSENESS = {"token_f1": token_f1, "rouge_l": rouge_l, "chrf": chrf}


def target_metrics(spec: RunSpec, target: EvaluateOn, predictions: Sequence[Prediction], checker: FormatChecker, seconds: float) -> Metrics:
    """Figures of one file of a run, by its task and by whether its rows have labels.

    Args:
        seconds: time that the predictions took.
    """
    if not target.labelled:
        return unlabelled_metrics(predictions, seconds)
    if spec.task == "extraction":
        return extraction_metrics(predictions, checker, seconds)
    return classification_metrics(predictions, spec.labels, seconds)


def classification_metrics(predictions: Sequence[Prediction], labels: Sequence[str], seconds: float) -> Metrics:
    """Figures of a classification; every row counts, one without an answer as wrong.

    Args:
        predictions: one a row.
        labels: all labels of the task.
        seconds: time that the predictions took.
    """
    metrics = _counts(predictions, [prediction.is_correct for prediction in predictions], seconds)
    metrics.per_label = {label: _label_figures(predictions, label) for label in labels}
    present = [figures["f1"] for figures in metrics.per_label.values() if figures["support"] or figures["predicted"]]
    metrics.macro_f1 = sum(present) / len(present) if present else 0.0
    rules = next((list(prediction.by_rule) for prediction in predictions if prediction.by_rule), [])
    metrics.accuracy_by_rule = {
        rule: sum((p.by_rule or {}).get(rule) == p.expected for p in predictions) / len(predictions) for rule in rules
    }
    scored = [prediction for prediction in predictions if prediction.loglikelihoods]
    if scored:
        shares = [label_shares(prediction.scores or prediction.loglikelihoods) for prediction in scored]
        metrics.log_loss = sum(log_loss_of(share, p.expected) for share, p in zip(shares, scored, strict=True)) / len(scored)
        metrics.calibration_error = _calibration_error(shares, scored)
    return metrics


def unlabelled_metrics(predictions: Sequence[Prediction], seconds: float) -> Metrics:
    """What can be said of answers to rows without labels: how many there are, and what they took."""
    metrics = _counts(predictions, [], seconds)
    metrics.correct = metrics.accuracy = None
    return metrics


def extraction_metrics(predictions: Sequence[Prediction], checker: FormatChecker, seconds: float) -> Metrics:
    """Figures of free answers, and each row's own beside its prediction. A row without an answer counts 0 in every mean.

    Args:
        predictions: one a row; their `quality` and `format_problem` are filled in.
        checker: the form that was asked for.
    """
    for prediction in predictions:
        _fill_quality(prediction, checker)
    metrics = _counts(predictions, [prediction.is_correct for prediction in predictions], seconds)
    qualities = [prediction.quality or {} for prediction in predictions]
    metrics.exact_match = metrics.accuracy
    metrics.token_f1, metrics.rouge_l, metrics.chrf = (_mean(qualities, name) for name in CLOSENESS)
    metrics.format_share = _mean(qualities, "format") if checker.asked.is_asked else None
    return metrics


def _fill_quality(prediction: Prediction, checker: FormatChecker) -> None:
    answered = prediction.error is None
    text, expected = prediction.text, prediction.expected
    prediction.quality = {name: measure(text, expected) if answered else 0.0 for name, measure in CLOSENESS.items()}
    prediction.quality["exact_match"] = float(answered and exact_match(text, expected))
    if checker.asked.is_asked:
        prediction.format_problem = checker.problem(text) if answered else None
        prediction.quality["format"] = float(answered and prediction.format_problem is None)


def _mean(qualities: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(quality[name] for quality in qualities) / len(qualities)


def label_shares(scores: Mapping[str, float]) -> dict[str, float]:
    """Softmax of label scores: the share of belief in each label."""
    top = max(scores.values())
    weights = {label: math.exp(score - top) for label, score in scores.items()}
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}


def log_loss_of(shares: Mapping[str, float], expected: str) -> float:
    """Negative log of the belief in the right label (nats), bounded where there is none."""
    return -math.log(max(shares.get(expected, 0.0), 1e-12))


def _counts(predictions: Sequence[Prediction], hits: Sequence[bool], seconds: float) -> Metrics:
    n = len(predictions)
    correct = sum(hits)
    fields = ("prompt_tokens", "fixed_tokens", "row_tokens", "virtual_tokens", "completion_tokens", "computed_tokens")
    return Metrics(
        n=n,
        correct=correct,
        errors=sum(p.error is not None and not p.skipped for p in predictions),
        skipped=sum(p.skipped for p in predictions),
        accuracy=correct / n if n else 0.0,
        mean_tokens={name: sum(getattr(p, name) for p in predictions) / n for name in fields} if n else {},
        seconds=seconds,
        rows_per_second=n / seconds if seconds > 0 else 0.0,
    )


def _label_figures(predictions: Sequence[Prediction], label: str) -> dict[str, float]:
    support = sum(p.expected == label for p in predictions)
    predicted = sum(p.predicted == label for p in predictions)
    hits = sum(p.predicted == label and p.expected == label for p in predictions)
    return {
        "support": support,
        "predicted": predicted,
        "precision": hits / predicted if predicted else 0.0,
        "recall": hits / support if support else 0.0,
        "f1": 2 * hits / (support + predicted) if support + predicted else 0.0,
    }


def _calibration_error(shares: Sequence[Mapping[str, float]], predictions: Sequence[Prediction]) -> float:
    """Mean gap between confidence and accuracy over equal-width bins of confidence.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.
    """
    bins: dict[int, list[tuple[float, bool]]] = {}
    for share, prediction in zip(shares, predictions, strict=True):
        confidence = share.get(prediction.predicted or "", 0.0)
        index = min(int(confidence * _CALIBRATION_BINS), _CALIBRATION_BINS - 1)
        bins.setdefault(index, []).append((confidence, prediction.is_correct))
    gaps = (abs(sum(c for c, _ in rows) - sum(hit for _, hit in rows)) for rows in bins.values())
    return sum(gaps) / len(predictions)

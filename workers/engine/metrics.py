"""Figures from predictions. Pure; no torch, no files."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from workers.engine.outcome import Metrics, Prediction

_CALIBRATION_BINS = 10


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
    scored = [prediction for prediction in predictions if prediction.loglikelihoods]
    if scored:
        shares = [label_shares(prediction.scores or prediction.loglikelihoods) for prediction in scored]
        metrics.log_loss = sum(-math.log(max(share.get(p.expected, 0.0), 1e-12)) for share, p in zip(shares, scored, strict=True)) / len(
            scored
        )
        metrics.calibration_error = _calibration_error(shares, scored)
    return metrics


def extraction_metrics(predictions: Sequence[Prediction], seconds: float) -> Metrics:
    """Figures of free answers: exact match and token F1 after light normalisation (case, punctuation, spaces)."""
    hits = [p.error is None and exact_match(p.text, p.expected) for p in predictions]
    metrics = _counts(predictions, hits, seconds)
    metrics.exact_match = metrics.accuracy
    overlap = [token_f1(p.text, p.expected) if p.error is None else 0.0 for p in predictions]
    metrics.token_f1 = sum(overlap) / len(overlap)
    return metrics


def label_shares(scores: Mapping[str, float]) -> dict[str, float]:
    """Softmax of label scores: the share of belief in each label."""
    top = max(scores.values())
    weights = {label: math.exp(score - top) for label, score in scores.items()}
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}


def normalise_text(text: str) -> str:
    """Lower case, punctuation and doubled spaces removed."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.casefold()).split())


def exact_match(text: str, expected: str) -> bool:
    """Equal after normalisation; where nothing is left of both, equal as written."""
    left, right = normalise_text(text), normalise_text(expected)
    return left == right if left or right else text.strip() == expected.strip()


def token_f1(text: str, expected: str) -> float:
    """Harmonic mean of the shares of words that answer and reference have in common (0-1).

    Source: Rajpurkar et al. 2016, SQuAD, section 6.
    """
    left, right = normalise_text(text).split(), normalise_text(expected).split()
    shared = sum((Counter(left) & Counter(right)).values())
    if not shared:
        return float(left == right)
    return 2 * shared / (len(left) + len(right))


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

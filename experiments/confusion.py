"""Which label was taken for which: counts by pair, precision, recall and F1 for each label, and macro-F1 with its interval.

Rows without an answer count as wrong for their label. numpy only, imported when needed; no Django.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.rates import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CHUNK_CELLS = 2_000_000


@dataclass(frozen=True)
class LabelResult:
    """One label's figures; precision is None when the label was never answered, recall and F1 when no row has it."""

    label: str
    rows: int
    answered: int
    right: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Confusion:
    """Counts of (expected label, answered label) as indices into the labels; the answer -1 means none of them."""

    cells: tuple[tuple[int, int, int], ...]
    by_label: tuple[LabelResult, ...]


def confusion_build(expected: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> Confusion:
    """The confusion of one artifact's answers.

    Args:
        expected, predicted: a label for each row; None, or a text that is no label, where there was no answer.
    """
    index = {label: position for position, label in enumerate(labels)}
    counts = Counter((index[truth], index.get(answer or "", -1)) for truth, answer in zip(expected, predicted, strict=True))
    rows, answered = Counter[int](), Counter[int]()
    for (truth, answer), count in counts.items():
        rows[truth] += count
        answered[answer] += count
    results = (_label_result(label, rows[at], answered[at], counts[at, at]) for at, label in enumerate(labels))
    return Confusion(tuple((truth, answer, count) for (truth, answer), count in sorted(counts.items())), tuple(results))


def macro_f1(confusion: Confusion) -> float:
    """Mean F1 over the labels that occur in the rows."""
    values = [result.f1 for result in confusion.by_label if result.f1 is not None]
    return sum(values) / len(values)


def macro_f1_estimate(confusion: Confusion, *, level: float = 0.95, resamples: int = 2_000, seed: int = 0) -> Estimate:
    """Macro-F1 with its percentile bootstrap interval over rows.

    Drawing n rows with replacement is one multinomial draw over the distinct cells, which is what makes it cheap.
    """
    cells = confusion.cells
    draws = _macro_f1_draws(
        [count for _, _, count in cells],
        [([truth for truth, _, _ in cells], [answer for _, answer, _ in cells])],
        resamples=resamples,
        seed=seed,
    )
    return _percentiles(macro_f1(confusion), draws[0], level)


def macro_f1_difference(
    expected: Sequence[str],
    a: Sequence[str | None],
    b: Sequence[str | None],
    labels: Sequence[str],
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """Macro-F1 of A minus that of B on the same rows, with its paired 95 % bootstrap interval."""
    index = {label: position for position, label in enumerate(labels)}
    counts = Counter(
        (index[truth], index.get(one or "", -1), index.get(other or "", -1)) for truth, one, other in zip(expected, a, b, strict=True)
    )
    truths, ones, others = zip(*counts, strict=True)
    draws = _macro_f1_draws(list(counts.values()), [(truths, ones), (truths, others)], resamples=resamples, seed=seed)
    value = macro_f1(confusion_build(expected, a, labels)) - macro_f1(confusion_build(expected, b, labels))
    return _percentiles(value, draws[0] - draws[1], 0.95)


def _macro_f1_draws(
    counts: Sequence[int], answers: Sequence[tuple[Sequence[int], Sequence[int]]], *, resamples: int, seed: int
) -> "list[Floats]":
    """Macro-F1 of each resample for each set of answers, [resamples] each; all sets see the same resamples."""
    import numpy as np

    weights = np.asarray(counts, dtype=np.float64)
    n = int(weights.sum())
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK_CELLS // len(counts))
    drawn: list[list[Any]] = [[] for _ in answers]
    for start in range(0, resamples, size):
        draw = generator.multinomial(n, weights / n, size=min(size, resamples - start)).astype(np.float64)
        for into, (truths, predictions) in zip(drawn, answers, strict=True):
            into.append(_macro_f1_of(draw, np.asarray(truths), np.asarray(predictions)))
    return [np.concatenate(parts) for parts in drawn]


def _macro_f1_of(draw: "Floats", truths: "NDArray[np.intp]", answers: "NDArray[np.intp]") -> "Floats":
    """Macro-F1 of drawn cell counts [R, cells], over the labels that occur in each draw."""
    import numpy as np

    num_labels = int(max(truths.max(), answers.max())) + 1
    of_truth, of_answer = (np.eye(num_labels + 1)[column][:, :num_labels] for column in (truths, answers))
    rows, answered = draw @ of_truth, draw @ of_answer
    right = draw @ (of_truth * of_answer)
    f1 = 2 * right / np.maximum(rows + answered, 1)
    present = rows > 0
    return np.asarray((f1 * present).sum(axis=1) / present.sum(axis=1))


def _percentiles(value: float, draws: "Floats", level: float) -> Estimate:
    import numpy as np

    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def _label_result(label: str, rows: int, answered: int, right: int) -> LabelResult:
    return LabelResult(
        label=label,
        rows=rows,
        answered=answered,
        right=right,
        precision=right / answered if answered else None,
        recall=right / rows if rows else None,
        f1=2 * right / (rows + answered) if rows else None,
    )

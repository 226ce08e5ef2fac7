"""Which label was taken for which: counts by pair, precision, recall and F1 for each label, and macro-F1 with its interval.

Rows without an answer count as wrong for their label. numpy and scipy are imported when needed; no Django.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.evidence.rates import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float64]

CHUNK = 2_000_000  # drawn rows held at a time


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
    """Macro-F1 of one artifact with its percentile bootstrap interval over rows."""
    truths, answers, counts = zip(*confusion.cells, strict=True)
    (draws,) = _draws(counts, truths, [answers], resamples=resamples, seed=seed)
    return percentile_estimate(macro_f1(confusion), draws, level=level)


def macro_f1_draws(
    expected: Sequence[str], answers: Sequence[Sequence[str | None]], labels: Sequence[str], *, resamples: int = 2_000, seed: int = 0
) -> "list[Floats]":
    """Macro-F1 of several artifacts on the same resamples of their rows, so that differences of draws are paired.

    Returns:
        For each artifact [resamples] values; subtract two of them for the draws of a difference.
    """
    index = {label: position for position, label in enumerate(labels)}
    columns = [[index[truth] for truth in expected], *([index.get(answer or "", -1) for answer in column] for column in answers)]
    cells = Counter(zip(*columns, strict=True))
    truths, *others = zip(*cells, strict=True)
    return _draws(list(cells.values()), truths, others, resamples=resamples, seed=seed)


def percentile_estimate(value: float, draws: "Floats", *, level: float = 0.95) -> Estimate:
    """A value with the percentile interval of its bootstrap draws."""
    import numpy as np

    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def _draws(counts: Sequence[int], truths: Sequence[int], answers: Sequence[Sequence[int]], *, resamples: int, seed: int) -> "list[Floats]":
    """Macro-F1 of each resample for each set of answers. Rows with equal truth and answers are one cell with a count."""
    import numpy as np

    num_labels = max(*truths, *(max(column) for column in answers)) + 1
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK // sum(counts))
    of_truth = _indicator(truths, num_labels)
    of_answers = [(_indicator(column, num_labels), _indicator(_where_equal(truths, column), num_labels)) for column in answers]
    drawn: list[list[Floats]] = [[] for _ in answers]
    for start in range(0, resamples, size):
        weights = _resample(np.asarray(counts), min(size, resamples - start), generator)
        rows = of_truth @ weights
        for into, (of_answer, of_right) in zip(drawn, of_answers, strict=True):
            f1 = 2 * (of_right @ weights) / np.maximum(rows + of_answer @ weights, 1)
            into.append(np.asarray(f1.sum(axis=0) / (rows > 0).sum(axis=0)))
    return [np.concatenate(parts) for parts in drawn]


def _resample(counts: "NDArray[np.int64]", size: int, generator: "np.random.Generator") -> "Floats":
    """How often each cell is drawn when n rows are drawn with replacement, [cells, size]; by whichever way is cheaper."""
    import numpy as np

    n, num_cells = int(counts.sum()), len(counts)
    if num_cells * 8 < n:
        return np.ascontiguousarray(generator.multinomial(n, counts / n, size=size).T, dtype=np.float64)
    cells = np.repeat(np.arange(num_cells), counts)[generator.integers(n, size=(size, n))]
    flat = cells * size + np.arange(size)[:, None]
    return np.bincount(flat.ravel(), minlength=num_cells * size).reshape(num_cells, size).astype(np.float64)


def _indicator(codes: Sequence[int], num_labels: int) -> "csr_array":
    """Sparse [labels, cells] with a one where a cell has a label; a code of -1 has none."""
    import numpy as np
    from scipy.sparse import csr_array

    known = [(code, at) for at, code in enumerate(codes) if code >= 0]
    rows, columns = zip(*known, strict=True) if known else ((), ())
    return csr_array((np.ones(len(known)), (rows, columns)), shape=(num_labels, len(codes)))


def _where_equal(truths: Sequence[int], answers: Sequence[int]) -> list[int]:
    return [truth if truth == answer else -1 for truth, answer in zip(truths, answers, strict=True)]


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

"""What enters a comparison: one artifact's answers on the compared rows, and how sure the statements must be. Pure; no Django."""

from collections.abc import Sequence
from dataclasses import dataclass


class BadComparison(ValueError):
    """The answers cannot be compared; the message is a sentence for a person."""


@dataclass(frozen=True)
class Contender:
    """One artifact's answers on the compared rows, in the order of the rows.

    predicted: the label or text of each row, None where there is no answer (an error or a skipped row).
    correct: whether each row counts as right; a row without an answer never does.
    validation_accuracy: 0 to 1, what the choice among seeds is made by; None when there is only one seed.
    """

    approach: str
    name: str
    seed: int
    predicted: tuple[str | None, ...]
    correct: tuple[bool, ...]
    num_errors: int = 0
    num_skipped: int = 0
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Settings:
    """How sure the statements are. margin: the loss, a share of rows, that still counts as "not worse"."""

    level: float = 0.95
    margin: float = 0.01
    min_seeds: int = 5
    resamples: int = 2_000
    seed: int = 0


def choose_seed(group: Sequence[Contender]) -> Contender:
    """The seed that stands for an approach: best on validation, the lowest seed among equals or where nothing is known."""
    return min(group, key=lambda one: (-(one.validation_accuracy if one.validation_accuracy is not None else -1.0), one.seed))


def check_contenders(expected: Sequence[str], labels: Sequence[str], contenders: Sequence[Contender], baseline: str | None) -> None:
    """Refuse answers that cannot be compared.

    Raises:
        BadComparison: no rows, no contender, answers that do not fit the rows, or an unknown baseline.
    """
    if not expected or not contenders:
        raise BadComparison("There is nothing to compare yet. At least one run must have answered at least one row.")
    if baseline is not None and baseline not in {one.approach for one in contenders}:
        raise BadComparison("The baseline has no answers on these rows. Wait for its run to end, or choose another baseline.")
    if labels and not set(expected) <= set(labels):
        raise BadComparison("A row has a label that is not among the labels of the data version. Compute the comparison from one version.")
    for one in contenders:
        if len(one.predicted) != len(expected) or len(one.correct) != len(expected):
            raise BadComparison(f"“{one.name}” (seed {one.seed}) answered other rows than the rest. Evaluate it on the same split again.")
        if any(right and answer is None for right, answer in zip(one.correct, one.predicted, strict=True)):
            raise BadComparison(f"“{one.name}” (seed {one.seed}) counts a row without an answer as right. Evaluate it again.")
    if len({(one.approach, one.seed) for one in contenders}) < len(contenders):
        raise BadComparison("An approach is listed twice with the same seed. Compare each artifact once.")

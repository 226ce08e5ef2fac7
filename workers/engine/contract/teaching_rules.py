"""What a student learns from its teacher, as a frozen dataclass. Standard library only; knows no model."""

import math
from dataclasses import dataclass

from workers.engine.errors import BadSpec

# The file of a run's folder that keeps what its teacher has said.
JOURNAL = "teacher.jsonl"
TARGETS = ("labels", "distribution")
LEARNS_ON = ("train", "unlabelled", "both")
MOST_TEMPERATURE = 100.0
MOST_ROWS = 10_000_000


@dataclass(frozen=True)
class Teaching:
    """How a teacher's answers to rows take the place of the rows' own labels, or stand where there is none.

    Args:
        targets: "labels" learns what the teacher answers; "distribution" how likely it finds every label.
        temperature: both sides' log-likelihoods are divided by it before they are compared; above 1 the unlikely labels count more.
        rows: most rows that are learned from; 0 takes all.
        learns_on: the rows that the teacher answers: "train" rows, "unlabelled" rows, or "both".
    """

    targets: str = "labels"
    temperature: float = 1.0
    rows: int = 0
    learns_on: str = "train"

    def __post_init__(self) -> None:
        if self.targets not in TARGETS:
            raise BadSpec(f"teaching.targets is {self.targets!r}; it must be one of: {', '.join(TARGETS)}.")
        if self.learns_on not in LEARNS_ON:
            raise BadSpec(f"teaching.learns_on is {self.learns_on!r}; it must be one of: {', '.join(LEARNS_ON)}.")
        if not _is_number(self.temperature) or not 0 < self.temperature <= MOST_TEMPERATURE:
            raise BadSpec(f"teaching.temperature is {self.temperature!r}; it must be above 0 and at most {MOST_TEMPERATURE:g}.")
        if not _is_number(self.rows) or self.rows != int(self.rows) or not 0 <= self.rows <= MOST_ROWS:
            raise BadSpec(f"teaching.rows is {self.rows!r}; it must be a whole number from 0 to {MOST_ROWS:,}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

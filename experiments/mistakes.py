"""Which train rows a tuned prompt gets wrong, or right by little. Reads train rows only, never validation or test rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.models import Evaluation, Example, Prediction, Run, Split

SHOWN = 50
USUAL_ODDS = 2.0


@dataclass(frozen=True)
class Mistake:
    """A row that is wrong, or close: `odds` says how many times as likely as the next label the right one was (below 1: wrong)."""

    row: int
    answer: str
    is_wrong: bool
    odds: float | None


@dataclass(frozen=True)
class ShownMistake:
    """A mistake with its row, for people to look at."""

    mistake: Mistake
    example: Example


@dataclass(frozen=True)
class Mistakes:
    """What a run gets wrong among its train rows.

    Args:
        num_rows: train rows that it answered.
        found: wrong rows and close calls, the most wrong first.
    """

    num_rows: int
    found: tuple[Mistake, ...]

    @property
    def num_wrong(self) -> int:
        return sum(each.is_wrong for each in self.found)

    @property
    def num_close(self) -> int:
        return len(self.found) - self.num_wrong

    @property
    def share(self) -> float:
        """Of all answered train rows."""
        return len(self.found) / self.num_rows if self.num_rows else 0.0

    def share_seen(self, times: int) -> float:
        """The part of a pass over the rows that they make up when each is shown so many times."""
        seen = len(self.found) * times
        return seen / (self.num_rows - len(self.found) + seen) if seen else 0.0

    def shown(self) -> list[ShownMistake]:
        """The most wrong rows with their texts."""
        first = self.found[:SHOWN]
        examples = Example.objects.in_bulk([each.row for each in first])
        return [ShownMistake(each, examples[each.row]) for each in first if each.row in examples]


def train_evaluation(run: Run) -> Evaluation | None:
    """The run's answers to all train rows, asked for or given; None when nobody has asked."""
    return Evaluation.objects.filter(run=run, split=Split.TRAIN, num_rows=None).select_related("job").first()


def mistakes_of(evaluation: Evaluation, odds: float = USUAL_ODDS) -> Mistakes:
    """The mistakes in a finished evaluation of train rows.

    Rows without an answer are left aside: what does not fit into the model cannot be learned from.

    Args:
        odds: right answers count as close up to this many times as likely as the next label; 1 takes wrong answers only.
    """
    answers = Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt_id, error="")
    rows = answers.values_list("example", "predicted", "text", "correct", "loglikelihoods", "example__label")
    found, num_rows = [], 0
    for row, predicted, text, correct, likelihoods, label in rows.iterator():
        num_rows += 1
        against = _odds(likelihoods, label)
        if not correct or (against is not None and against < odds):
            found.append(Mistake(row, predicted or text, not correct, against))
    found.sort(key=lambda each: (not each.is_wrong, 1.0 if each.odds is None else each.odds, each.row))
    return Mistakes(num_rows, tuple(found))


def _odds(likelihoods: Mapping[str, float], label: str) -> float | None:
    """How many times as likely as the next best label the right one was; None where labels were not weighed."""
    others = [value for name, value in likelihoods.items() if name != label]
    if label not in likelihoods or not others:
        return None
    return math.exp(max(-50.0, min(50.0, likelihoods[label] - max(others))))

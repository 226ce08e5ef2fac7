"""Which train rows a tuned prompt gets wrong, or right by little. Reads train rows only, never validation or test rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.models import Evaluation, Example, Feedback, Prediction, Run, Split, User, Verdict

SHOWN = 50
USUAL_ODDS = 2.0


@dataclass(frozen=True)
class Mistake:
    """A row that is wrong, close, or marked by somebody: `odds` says how many times as likely as the next label the right one was.

    Below 1 it was wrong.
    """

    row: int
    answer: str
    is_wrong: bool
    is_close: bool
    odds: float | None
    marks: tuple[Feedback, ...] = ()

    @property
    def is_doubted(self) -> bool:
        """Whether a mark contradicts the data. One is enough: a row too few costs less than a wrong label shown often."""
        return any(mark.doubts_label for mark in self.marks)


@dataclass(frozen=True)
class ShownMistake:
    """A mistake with its row, for people to look at. own: the mark of the person who looks."""

    mistake: Mistake
    example: Example
    own: Feedback | None = None


@dataclass(frozen=True)
class Mistakes:
    """What a run gets wrong among its train rows.

    Args:
        num_rows: train rows that it answered.
        found: wrong rows, close calls, and rows that somebody marked as wrong or doubts, the most wrong first.
    """

    num_rows: int
    found: tuple[Mistake, ...]

    @property
    def num_wrong(self) -> int:
        return sum(each.is_wrong for each in self.found)

    @property
    def num_close(self) -> int:
        return sum(each.is_close for each in self.found)

    @property
    def doubted(self) -> frozenset[int]:
        """Rows that no second round learns from."""
        return frozenset(each.row for each in self.found if each.is_doubted)

    @property
    def share(self) -> float:
        """Of all answered train rows."""
        return len(self.found) / self.num_rows if self.num_rows else 0.0

    def share_seen(self, times: int) -> float:
        """The part of a pass over the rows that they make up when each is shown so many times."""
        seen = (len(self.found) - len(self.doubted)) * times
        return seen / (self.num_rows - len(self.found) + seen) if seen else 0.0

    def shown(self, viewer: User | None = None) -> list[ShownMistake]:
        """The most wrong rows with their texts. Marked rows stand between them and push none out, so that marking goes on."""
        first = {each.row for each in [each for each in self.found if not each.marks][:SHOWN]}
        listed = [each for each in self.found if each.marks or each.row in first]
        examples = Example.objects.in_bulk([each.row for each in listed])
        return [ShownMistake(each, examples[each.row], _own(each, viewer)) for each in listed if each.row in examples]


def _own(mistake: Mistake, viewer: User | None) -> Feedback | None:
    return next((mark for mark in mistake.marks if viewer is not None and mark.by_id == viewer.pk), None)


def train_evaluation(run: Run) -> Evaluation | None:
    """The run's answers to all train rows, asked for or given; None when nobody has asked."""
    return Evaluation.objects.filter(run=run, split=Split.TRAIN, num_rows=None).select_related("job").first()


def mistakes_of(evaluation: Evaluation, odds: float = USUAL_ODDS) -> Mistakes:
    """The mistakes in a finished evaluation of train rows. What people marked as wrong is one, whatever the data says.

    Rows without an answer are left aside: what does not fit into the model cannot be learned from.

    Args:
        odds: right answers count as close up to this many times as likely as the next label; 1 takes wrong answers only.
    """
    answers = Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt_id, error="")
    rows = answers.values_list("example", "predicted", "text", "correct", "loglikelihoods", "example__label")
    marks = _marks(evaluation)
    found, num_rows = [], 0
    for row, predicted, text, correct, likelihoods, label in rows.iterator():
        num_rows += 1
        against = _odds(likelihoods, label)
        is_close = bool(correct) and against is not None and against < odds
        said = marks.get(row, ())
        if not correct or is_close or any(mark.verdict == Verdict.WRONG for mark in said):
            found.append(Mistake(row, predicted or text, not correct, is_close, against, said))
    found.sort(key=lambda each: (not each.is_wrong, 1.0 if each.odds is None else each.odds, each.row))
    return Mistakes(num_rows, tuple(found))


def _marks(evaluation: Evaluation) -> dict[int, tuple[Feedback, ...]]:
    """{row: marks} on the run's answers. Only train rows have any."""
    marks: dict[int, tuple[Feedback, ...]] = {}
    for mark in Feedback.objects.filter(run=evaluation.run_id, example__split=Split.TRAIN).select_related("example", "by"):
        marks[mark.example_id] = (*marks.get(mark.example_id, ()), mark)
    return marks


def _odds(likelihoods: Mapping[str, float], label: str) -> float | None:
    """How many times as likely as the next best label the right one was; None where labels were not weighed."""
    others = [value for name, value in likelihoods.items() if name != label]
    if label not in likelihoods or not others:
        return None
    return math.exp(max(-50.0, min(50.0, likelihoods[label] - max(others))))

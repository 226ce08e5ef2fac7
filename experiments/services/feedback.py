"""Marks of people on answers to train rows: given, changed, taken back. Knows no request and trains nothing."""

from dataclasses import dataclass

from django.db import transaction

from experiments.errors import UserError
from experiments.models import Example, Feedback, Prediction, Run, Split, User, Verdict
from experiments.planning.mistakes import train_evaluation
from experiments.services.audit import audit_record

MAX_NOTE = 500
MAX_ANSWER = 1_000


@dataclass(frozen=True)
class Judgement:
    """What a person says of an answer.

    Args:
        right_answer: what it should have been, for a wrong one; empty where the person does not say.
    """

    verdict: Verdict
    right_answer: str = ""
    note: str = ""


def feedback_give(*, run: Run, position: int, judgement: Judgement, by: User | None) -> Feedback:
    """Mark a run's answer to the train row with that number. A second mark of the same person replaces the first.

    Raises:
        UserError: not a train row, no answer to mark, nobody who stands for it, or a mark that makes no sense.
    """
    person, row = _person(by), _train_row(run, position)
    given = _answer(run, row)
    answer = given.predicted or given.text
    _check(judgement, answer, run.approach.experiment.dataset_version.labels)
    said = {"verdict": judgement.verdict, "right_answer": judgement.right_answer, "note": judgement.note}
    with transaction.atomic():
        mark, _ = Feedback.objects.update_or_create(
            run=run, example=row, by=person, defaults={**said, "answer": answer, "was_right": given.correct}
        )
        _record(run, "marked an answer of", {"row": position, "verdict": str(judgement.verdict)}, person)
    return mark


def feedback_take_back(*, run: Run, position: int, by: User | None) -> None:
    """Remove a person's own mark; without one nothing happens.

    Raises:
        UserError: not a train row, or nobody who stands for it.
    """
    person, row = _person(by), _train_row(run, position)
    with transaction.atomic():
        removed, _ = Feedback.objects.filter(run=run, example=row, by=person).delete()
        if removed:
            _record(run, "took back a mark on an answer of", {"row": position}, person)


def _person(by: User | None) -> User:
    if by is None:
        raise UserError("A mark belongs to a person, and the person who made this key has left. Use a key of somebody who is still here.")
    return by


def _train_row(run: Run, position: int) -> Example:
    """Marks elsewhere are not even stored: what nobody has written down can never train or choose."""
    row = Example.objects.filter(version=run.approach.experiment.dataset_version_id, position=position).first()
    if row is None:
        raise UserError(f"The data has no row {position:,}, so its answer cannot be marked.")
    if row.split != Split.TRAIN:
        reason = (
            "has no label that an answer could miss" if row.split == Split.UNLABELLED else f"is a {row.split} row, and those only judge"
        )
        raise UserError(f"Row {position:,} {reason}. Mark answers to train rows: a second round learns from them.")
    return row


def _answer(run: Run, row: Example) -> Prediction:
    evaluation = train_evaluation(run)
    if evaluation is None or evaluation.completed_at is None:
        raise UserError("This run has not answered its train rows yet. Find its mistakes first, then mark.")
    given = Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt_id, example=row, error="").first()
    if given is None:
        raise UserError(f"Row {row.position:,} has no answer of this run to mark.")
    return given


def _check(judgement: Judgement, answer: str, labels: list[str]) -> None:
    right = judgement.right_answer
    if judgement.verdict == Verdict.RIGHT and right:
        raise UserError("An answer that is right needs no other one. Leave the right answer empty, or mark the answer as wrong.")
    if right and right == answer:
        raise UserError("That is what it answered. Name another right answer, or mark the answer as right.")
    if right and labels and right not in labels:
        raise UserError(
            "The right answer is none of the labels of this data. Choose one of them, or leave it empty and say why in the note."
        )


def _record(run: Run, verb: str, detail: dict[str, object], by: User) -> None:
    audit_record(by=by, verb=verb, target=run, workspace=run.approach.experiment.workspace, detail=detail)

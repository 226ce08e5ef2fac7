"""Marks stand on answers to train rows alone, one of each person, and decide what a second round shows and leaves out."""

import pytest

from experiments.errors import UserError
from experiments.models import AuditEntry, Example, Feedback, Focus, Prediction, Verdict
from experiments.planning.second_rounds import RoundChoice
from experiments.services.feedback import Judgement, feedback_give, feedback_take_back
from experiments.services.second_rounds import second_round_start
from tests.second_round_data import answer_train_rows, make_tuned_run, mistakes_in

pytestmark = pytest.mark.django_db

WRONG, RIGHT = Judgement(Verdict.WRONG), Judgement(Verdict.RIGHT)


@pytest.fixture
def run(workspace):
    return make_tuned_run(workspace)


def test_mark_keeps_what_was_answered_and_can_be_changed(run, alice):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    first = feedback_give(run=run, position=1, judgement=WRONG, by=alice)

    changed = feedback_give(run=run, position=1, judgement=Judgement(Verdict.WRONG, note="About money"), by=alice)

    assert (changed.pk, changed.answer, changed.was_right) == (first.pk, "delivery", False)
    assert Feedback.objects.get().note == "About money"
    assert Feedback.objects.get().created_at > first.created_at
    assert AuditEntry.objects.filter(verb="marked an answer of", actor=alice).count() == 2


def test_each_person_has_a_mark_and_takes_back_their_own(run, alice, dora):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    for person in (alice, dora):
        feedback_give(run=run, position=1, judgement=WRONG, by=person)

    for _ in range(2):
        feedback_take_back(run=run, position=1, by=dora)

    assert Feedback.objects.get().by == alice
    assert AuditEntry.objects.filter(verb__startswith="took back").count() == 1


@pytest.mark.parametrize("split", ["validation", "test"])
def test_rows_that_judge_take_no_mark(run, alice, split):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    position = Example.objects.filter(split=split).earliest("position").position

    with pytest.raises(UserError, match=f"Row {position} is a {split} row, and those only judge"):
        feedback_give(run=run, position=position, judgement=WRONG, by=alice)
    assert not Feedback.objects.exists()


def test_an_unlabelled_row_takes_no_mark(run, alice):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    version = run.approach.experiment.dataset_version
    Example.objects.create(version=version, position=99, split="unlabelled", fields={"text": "hello?"}, label="")

    with pytest.raises(UserError, match="Row 99 has no label that an answer could miss"):
        feedback_give(run=run, position=99, judgement=WRONG, by=alice)


@pytest.mark.parametrize(
    ("position", "judgement", "sentence"),
    [
        (999, WRONG, "The data has no row 999"),
        (2, WRONG, "no answer of this run to mark"),
        (1, Judgement(Verdict.RIGHT, "refund"), "needs no other one"),
        (1, Judgement(Verdict.WRONG, "delivery"), "That is what it answered"),
        (1, Judgement(Verdict.WRONG, "weather"), "none of the labels"),
    ],
)
def test_mark_that_makes_no_sense_is_refused(run, alice, position, judgement, sentence):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0], errors={1: "The row is longer than the model can hold."})

    with pytest.raises(UserError, match=sentence):
        feedback_give(run=run, position=position, judgement=judgement, by=alice)


def test_mark_before_the_rows_are_answered_is_refused(run, alice):
    with pytest.raises(UserError, match="has not answered its train rows yet"):
        feedback_give(run=run, position=1, judgement=WRONG, by=alice)


def test_mark_of_nobody_is_refused(run):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])

    with pytest.raises(UserError, match="belongs to a person"):
        feedback_give(run=run, position=1, judgement=WRONG, by=None)


@pytest.mark.parametrize(
    ("position", "judgement", "doubts"),
    [
        (1, WRONG, False),  # the data says the same
        (1, RIGHT, True),  # the data counts it as wrong
        (1, Judgement(Verdict.WRONG, "refund"), False),  # the label itself
        (3, WRONG, True),  # it had answered the label
        (3, RIGHT, False),
    ],
)
def test_mark_that_contradicts_the_data_doubts_its_label(run, alice, position, judgement, doubts):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])

    assert feedback_give(run=run, position=position, judgement=judgement, by=alice).doubts_label is doubts


def test_free_answer_that_counts_as_right_and_is_marked_wrong_is_a_mistake(run, alice):
    rows = answer_train_rows(run, [4.0, 4.0, 4.0, 4.0])
    Prediction.objects.filter(example=rows[0]).update(predicted="REFUND")  # right by a match that looks away from case

    feedback_give(run=run, position=1, judgement=Judgement(Verdict.WRONG, "refund"), by=alice)

    made = second_round_start(run=run, by=alice, choice=RoundChoice(odds=1.0, has_control=False), key="round")
    focus = Focus.objects.get(approach__experiment=made)
    assert (focus.rows, focus.left_out) == ([rows[0]], [])


def test_row_with_a_doubted_label_teaches_neither_the_round_nor_its_control(run, alice, dora):
    rows = answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])
    feedback_give(run=run, position=1, judgement=RIGHT, by=alice)
    feedback_give(run=run, position=1, judgement=WRONG, by=dora)  # one doubt is enough
    feedback_give(run=run, position=4, judgement=WRONG, by=dora)

    made = second_round_start(run=run, by=alice, choice=RoundChoice(), key="round")

    focuses = Focus.objects.filter(approach__experiment=made)
    assert [(focus.rows, focus.left_out) for focus in focuses] == [([rows[1]], [rows[0], rows[3]])] * 2


def test_round_of_doubted_rows_only_is_refused(run, alice):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    feedback_give(run=run, position=1, judgement=RIGHT, by=alice)

    with pytest.raises(UserError, match="no row left to show more often"):
        second_round_start(run=run, by=alice, choice=RoundChoice(), key="round")


def test_doubted_rows_are_no_part_of_what_a_pass_shows(run, alice):
    answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])
    feedback_give(run=run, position=1, judgement=RIGHT, by=alice)

    assert len(mistakes_in(run, 1.0).found) == 2
    assert mistakes_in(run, 1.0).share_seen(4) == pytest.approx(4 / 6)


def test_mark_on_a_row_that_is_no_train_row_would_count_for_nothing(run, alice):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    test_row = Example.objects.filter(split="test").earliest("position")
    Feedback.objects.create(run=run, example=test_row, by=alice, verdict=Verdict.WRONG, answer="delivery", was_right=False)

    assert [each.marks for each in mistakes_in(run, 1.0).found] == [()]


def test_marked_rows_push_no_others_from_the_list(run, alice, monkeypatch):
    monkeypatch.setattr("experiments.planning.mistakes.SHOWN", 1)
    rows = answer_train_rows(run, [-3.0, -2.0, -1.0, 4.0])
    feedback_give(run=run, position=1, judgement=WRONG, by=alice)

    shown = mistakes_in(run, 1.0).shown(alice)

    assert [each.mistake.row for each in shown] == rows[:2]
    assert [bool(each.own) for each in shown] == [True, False]

"""A second round starts from the tuned prompt, shows its mistakes more often, and learns from train rows alone."""

import pytest

from experiments.errors import UserError
from experiments.models import Artifact, Evaluation, Example, Focus, Job, JobKind, JobState, Run
from experiments.planning.second_rounds import RoundChoice
from experiments.reads.second_rounds import focus_sentences
from experiments.services.advances import experiment_advance
from experiments.services.second_rounds import mistakes_find, second_round_start
from tests.second_round_data import answer_train_rows, make_tuned_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(workspace):
    return make_tuned_run(workspace)


def start(run, by=None, key="key-1", **choice):
    return second_round_start(run=run, by=by, choice=RoundChoice(**choice), key=key)


def test_mistakes_are_looked_for_once_and_on_train_rows_only(run, alice):
    first = mistakes_find(run=run, by=alice)

    assert mistakes_find(run=run, by=alice) == first
    assert [(each.split, each.job.kind, each.job.queue) for each in Evaluation.objects.filter(run=run)] == [("train", "evaluate", "gpu")]


def test_search_for_mistakes_that_failed_starts_again(run, alice):
    job = mistakes_find(run=run, by=alice).job
    Job.objects.filter(pk=job.pk).update(state=JobState.FAILED)

    mistakes_find(run=run, by=alice)

    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_run_without_a_tuned_prompt_has_no_mistakes_to_learn_from(run, alice):
    Artifact.objects.all().delete()

    with pytest.raises(UserError, match="has left no tuned prompt"):
        mistakes_find(run=run, by=alice)


def test_answers_to_train_rows_change_no_result_of_the_comparison(run):
    answer_train_rows(run, [-1.0, 1.0, 1.0, 1.0])

    for _ in range(2):
        experiment_advance(experiment=run.approach.experiment)

    assert Job.objects.filter(kind=JobKind.COMPARE).count() == 1
    assert Job.objects.filter(kind=JobKind.COMPARE, payload__split="test").count() == 0


def test_round_starts_from_the_prompt_beside_its_control_and_the_written_prompt(run, alice):
    rows = answer_train_rows(run, [-1.0, 0.1, 4.0, 4.0])

    made = start(run, alice, times=5, odds=2.0)

    written, focused, control = made.approaches.all()
    assert written.name == "Zero-shot: Careful v1"
    assert (focused.start_artifact, control.start_artifact) == (run.artifact, run.artifact)
    assert focused.recipe == control.recipe
    assert focused.recipe["max_steps"] == 30
    assert (focused.focus.rows, focused.focus.times, focused.focus.run) == (rows[:2], 5, run)
    assert (control.focus.rows, control.focus.times) == (rows[:2], 1)
    assert Run.objects.filter(approach__experiment=made).count() == 3


def test_same_key_gives_the_same_round(run, alice):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])

    assert start(run, alice) == start(run, alice)
    assert Focus.objects.count() == 2


def test_row_whose_label_is_wrong_is_neither_shown_nor_learned(run, alice):
    rows = answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])

    made = start(run, alice, left_out=(rows[0],), has_control=False)

    focus = Focus.objects.get(approach__experiment=made)
    assert (focus.rows, focus.left_out) == ([rows[1]], [rows[0]])


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"times": 1}, "2 to 20 times"),
        ({"odds": 0.5}, "out of that range"),
        ({"left_out": (10**9,)}, "not among the mistakes"),
    ],
)
def test_choice_that_makes_no_sense_is_refused_and_nothing_is_stored(run, alice, choice, sentence):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])

    with pytest.raises(UserError, match=sentence):
        start(run, alice, **choice)
    assert not Focus.objects.exists()


def test_prompt_without_a_mistake_has_nothing_to_go_on_from(run, alice):
    answer_train_rows(run, [4.0, 4.0, 4.0, 4.0])

    with pytest.raises(UserError, match="no row left to show more often"):
        start(run, alice)


def test_round_before_the_mistakes_are_found_is_refused(run, alice):
    with pytest.raises(UserError, match="have not been found yet"):
        start(run, alice)


def test_what_was_done_is_said(run, alice):
    rows = answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])

    sentences = focus_sentences(start(run, alice, times=3, left_out=(rows[0],)))

    assert sentences[0].endswith("1 train row that it got wrong or right by little is shown 3 times as often.")
    assert "Soft prompt of “Which prompt?”, seed 0" in sentences[0]
    assert sentences[1].endswith("with all rows shown equally often.")
    assert "1 train row whose label a person called wrong" in sentences[2]
    assert "validation rows have now chosen twice" in sentences[3]
    assert focus_sentences(run.approach.experiment) == []


def test_no_validation_or_test_row_ever_stands_in_a_focus(run, alice):
    answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])

    made = start(run, alice)

    shown = {row for focus in Focus.objects.filter(approach__experiment=made) for row in focus.rows}
    assert set(Example.objects.filter(pk__in=shown).values_list("split", flat=True)) == {"train"}

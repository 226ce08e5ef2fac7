"""Mistakes are rows that a run got wrong or right by little; rows without an answer are left aside."""

import math

import pytest

from experiments.planning.mistakes import train_evaluation
from tests.second_round_data import answer_train_rows, make_tuned_run, mistakes_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(workspace):
    return make_tuned_run(workspace)


def test_nobody_has_asked_yet(run):
    assert train_evaluation(run) is None


def test_wrong_rows_come_first_and_the_most_wrong_before_them(run):
    rows = answer_train_rows(run, [-1.0, -3.0, 0.1, 4.0])

    mistakes = mistakes_in(run, 2.0)

    assert [each.row for each in mistakes.found] == [rows[1], rows[0], rows[2]]
    assert (mistakes.num_rows, mistakes.num_wrong, mistakes.num_close) == (4, 2, 1)
    assert mistakes.found[0].odds == pytest.approx(math.exp(-3.0))


def test_odds_of_one_take_wrong_answers_only(run):
    answer_train_rows(run, [-1.0, 0.1, 0.1, 4.0])

    assert [each.is_wrong for each in mistakes_in(run, 1.0).found] == [True]


def test_higher_odds_take_more_close_calls(run):
    answer_train_rows(run, [-1.0, 0.1, 1.0, 4.0])

    assert [mistakes_in(run, odds).num_close for odds in (1.5, 3.0, 100.0)] == [1, 2, 3]


def test_row_without_an_answer_is_no_mistake(run):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0], errors={0: "The row is longer than the model can hold."})

    mistakes = mistakes_in(run, 2.0)

    assert (mistakes.num_rows, mistakes.found) == (3, ())


def test_share_of_a_pass_grows_with_how_often_rows_are_shown(run):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    mistakes = mistakes_in(run, 2.0)

    assert mistakes.share == 0.25
    assert mistakes.share_seen(1) == 0.25
    assert mistakes.share_seen(3) == 0.5

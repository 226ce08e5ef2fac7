"""Marking answers on the page of a run's mistakes: with and without script, seen by everybody, given by those who may write."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import Feedback
from tests import factories
from tests.second_round_data import answer_train_rows, make_tuned_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(workspace):
    run = make_tuned_run(workspace)
    answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])
    return run


@pytest.fixture
def address(workspace, run):
    return f"/w/{workspace.slug}/runs/{run.pk}/mistakes/"


def test_mark_leads_back_to_its_row_and_stands_there_with_its_giver(client_for, dora, bob, address):
    answer = client_for(dora).post(
        f"{address}1/mark/", {"verdict": "wrong", "right_answer": "refund", "note": "About <money>", "odds": "3"}
    )

    assert answer["Location"] == f"{address}?odds=3&marked=1#row-1"
    page = " ".join(client_for(bob).get(answer["Location"]).content.decode().split())
    assert "Wrong, should be “refund”: About &lt;money&gt;" in page
    assert "Dora, <time" in page
    assert "Change yours" not in page


def test_own_mark_is_changed_and_taken_back(client_for, dora, address):
    visitor = client_for(dora)
    visitor.post(f"{address}1/mark/", {"verdict": "right"})
    page = visitor.get(address).content.decode()
    assert "left out by a mark" in page
    assert "Change yours" in page

    visitor.post(f"{address}1/mark/", {"verdict": "right", "take_back": "1"})

    assert not Feedback.objects.exists()


def test_page_whose_rows_are_all_doubted_still_lets_marks_go(client_for, dora, address):
    visitor = client_for(dora)
    for row in (1, 2):
        visitor.post(f"{address}{row}/mark/", {"verdict": "right"})

    page = visitor.get(address).content.decode()

    assert "There is no row left to show more often" in page
    assert page.count("Take back") == 2


@pytest.mark.parametrize(
    ("row", "fields", "sentence"),
    [
        (8, {"verdict": "wrong"}, "Row 8 is a test row, and those only judge"),
        (1, {}, "Say whether the answer is wrong or right."),
        (1, {"verdict": "wrong", "note": "x" * 501}, "at most 500 characters"),
    ],
)
def test_mark_that_is_refused_says_why(client_for, dora, address, row, fields, sentence):
    visitor = client_for(dora)

    page = visitor.post(f"{address}{row}/mark/", fields, follow=True)
    part = visitor.post(f"{address}{row}/mark/", fields, headers={"HX-Request": "true"})

    assert sentence in page.content.decode()
    assert (part.status_code, part["Content-Type"]) == (422, "text/plain; charset=utf-8")
    assert sentence in part.content.decode()
    assert not Feedback.objects.exists()


def test_viewer_sees_marks_and_gives_none(client_for, bob, address):
    visitor = client_for(bob)

    assert "It should be" not in visitor.get(address).content.decode()
    assert visitor.post(f"{address}1/mark/", {"verdict": "wrong"}).status_code == 403


def test_marks_cost_no_queries_of_their_own(client_for, alice, dora, address, run):
    visitor = client_for(alice)

    def cost():
        visitor.get(address)
        with CaptureQueriesContext(connection) as queries:
            visitor.get(address)
        return len(queries)

    before = cost()
    for row in range(1, 5):
        for person in (alice, dora):
            example = run.approach.experiment.dataset_version.examples.get(position=row)
            factories.make_feedback(run, by=person, example=example)

    assert cost() == before

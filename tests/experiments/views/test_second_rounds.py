"""The pages of a second round: what finding mistakes takes, the rows with their odds, the launch, and the lineage afterwards."""

import pytest

from experiments.models import Experiment, Focus, Run
from tests.second_round_data import answer_train_rows, make_tuned_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(workspace):
    return make_tuned_run(workspace)


@pytest.fixture
def address(workspace, run):
    return f"/w/{workspace.slug}/runs/{run.pk}/"


def fields(page, **changes):
    form = page.context["form"]
    return {"name": "Round two", "odds": "2", "times": "4", "has_control": "on", "key": form["key"].value()} | changes


def test_tuned_run_leads_to_its_mistakes(client_for, alice, address):
    assert "Train on its mistakes" in client_for(alice).get(address).content.decode()


def test_before_anybody_asked_the_page_says_what_it_takes(client_for, alice, address):
    page = client_for(alice).get(f"{address}mistakes/").content.decode()

    assert "letting it answer all 4 train rows" in page
    assert "Find its mistakes" in page


def test_finding_is_followed_until_it_has_ended(client_for, alice, address, run):
    visitor = client_for(alice)
    visitor.post(f"{address}mistakes/find/")

    assert "Answering the train rows" in visitor.get(f"{address}mistakes/").content.decode()
    assert "HX-Refresh" not in visitor.get(f"{address}mistakes/state/").headers
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    assert visitor.get(f"{address}mistakes/state/")["HX-Refresh"] == "true"


def test_rows_stand_with_label_answer_and_odds(client_for, alice, address, run):
    answer_train_rows(run, [-1.0, 0.1, 4.0, 4.0])

    page = client_for(alice).get(f"{address}mistakes/").content.decode()

    assert "1 of 4 train rows" in page
    assert "I want my money back" in page
    assert "0.37" in page
    assert "right by little" in page
    assert "shown four times as often they make up 80.0% of a pass" in page


def test_other_odds_count_again(client_for, alice, address, run):
    answer_train_rows(run, [-1.0, 0.1, 4.0, 4.0])
    visitor = client_for(alice)

    assert visitor.get(f"{address}mistakes/?odds=1").context["preview"].mistakes.num_close == 0
    assert visitor.get(f"{address}mistakes/?odds=nonsense").context["preview"].odds == 2.0


def test_launch_leads_to_the_comparison_that_says_what_was_done(client_for, alice, address, run):
    rows = answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])
    visitor = client_for(alice)
    form = fields(visitor.get(f"{address}mistakes/"), left_out=[str(rows[0])])

    page = visitor.post(f"{address}mistakes/train/", form, follow=True).content.decode()
    visitor.post(f"{address}mistakes/train/", form)

    made = Experiment.objects.get(name="Round two")
    assert Focus.objects.get(approach__experiment=made, times=4).left_out == [rows[0]]
    assert "shown 4 times as often" in page
    focused = Run.objects.get(approach__focus__times=4)
    assert "1 train row, 4 times as often as the others" in visitor.get(address.replace(str(run.pk), str(focused.pk))).content.decode()


def test_launch_that_is_refused_keeps_what_was_ticked(client_for, alice, address, run):
    rows = answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])
    visitor = client_for(alice)

    answer = visitor.post(f"{address}mistakes/train/", fields(visitor.get(f"{address}mistakes/"), left_out=[str(rows[0])]))

    assert "There is no row left to show more often" in answer.content.decode()
    assert answer.context["left_out"] == {rows[0]}
    assert Experiment.objects.count() == 1


def test_viewer_sees_the_rows_and_launches_nothing(client_for, bob, address, run):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])

    page = client_for(bob).get(f"{address}mistakes/").content.decode()

    assert "I want my money back" in page
    assert "Start the second round" not in page

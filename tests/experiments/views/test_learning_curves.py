"""The pages around a learning curve: offered with what it takes, launched by one click, shown with its sentence, absent from the list."""

import pytest

from experiments.models import Experiment
from experiments.services.learning_curves import learning_curve_start
from tests.comparison_data import make_finished_experiment
from tests.curve_data import make_drawn_curve

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, num_validation=24))


@pytest.fixture
def finished(made):
    return Experiment.objects.get(pk=made.pk)


@pytest.fixture
def address(workspace, finished):
    return f"/w/{workspace.slug}/comparisons/{finished.pk}/"


def test_finished_comparison_offers_the_curve_with_what_it_takes(client_for, alice, address):
    page = client_for(alice).get(address).content.decode()

    assert "How many labelled rows does it take?" in page
    assert "Draw the learning curve?" in page
    assert "10, with 2 seeds" in page


def test_viewer_is_not_offered_what_they_may_not_do(client_for, bob, address):
    page = client_for(bob).get(address).content.decode()

    assert "Draw the learning curve?" not in page


def test_one_click_launches_and_leads_to_the_curve(client_for, alice, finished, address):
    answer = client_for(alice).post(f"{address}learning-curve/start/", follow=True)

    assert answer.redirect_chain == [(f"{address}learning-curve/", 302)]
    assert "10 runs" in answer.content.decode()
    assert Experiment.objects.filter(curve_of=finished).count() == 1


def test_click_that_cannot_launch_says_why(client_for, alice, finished, address):
    Experiment.objects.filter(pk=finished.pk).update(finished_at=None)

    page = client_for(alice).post(f"{address}learning-curve/start/", follow=True).content.decode()

    assert "The comparison has not ended yet" in page


def test_drawn_curve_stands_on_both_pages(client_for, alice, finished, address):
    curve = make_drawn_curve(finished)
    sentence = curve.learning_curve["sentences"][0]
    visitor = client_for(alice)

    own = visitor.get(f"{address}learning-curve/").content.decode()

    assert sentence in visitor.get(address).content.decode()
    assert sentence in own
    assert "with no train rows at all" in own
    assert "flatters what is tuned" in own
    assert 'data-chart="chart-learning"' in own


def test_address_of_the_curve_s_comparison_leads_to_its_page(client_for, alice, workspace, finished, address):
    curve = learning_curve_start(experiment=finished, by=alice)

    answer = client_for(alice).get(f"/w/{workspace.slug}/comparisons/{curve.pk}/")

    assert answer["Location"] == f"{address}learning-curve/"


def test_curve_is_no_comparison_of_the_list(client_for, alice, workspace, finished):
    curve = learning_curve_start(experiment=finished, by=alice)
    visitor = client_for(alice)

    for page in (f"/w/{workspace.slug}/comparisons/", f"/w/{workspace.slug}/"):
        shown = visitor.get(page).content.decode()
        assert f"/comparisons/{finished.pk}/" in shown
        assert f"/comparisons/{curve.pk}/" not in shown


def test_report_shows_the_curve(client_for, alice, finished, address):
    curve = make_drawn_curve(finished)

    page = client_for(alice).get(f"{address}report/").content.decode()

    assert "How many labelled rows it takes" in page
    assert curve.learning_curve["sentences"][0] in page

import pytest

from experiments.models import Membership
from tests.factories import make_approach, make_experiment, make_job


def test_home_leads_to_the_first_workspace(client_for, alice, workspace):
    response = client_for(alice).get("/")

    assert response.url == "/w/acme/"


def test_a_person_without_a_workspace_is_told_what_to_do(client_for, alice):
    Membership.objects.all().delete()

    response = client_for(alice).get("/")

    assert "You are in no workspace yet" in response.content.decode()


def test_the_overview_shows_the_next_step(client_for, alice, workspace):
    page = client_for(alice).get("/w/acme/").content.decode()

    assert 'aria-current="step"' in page
    assert "/w/acme/data/new/" in page


def test_the_overview_says_that_no_worker_is_running(client_for, alice, workspace):
    make_job(workspace)

    page = client_for(alice).get("/w/acme/activity/").content.decode()

    assert "No worker for tuning and scoring is running" in page


def test_a_stranger_does_not_learn_that_the_workspace_exists(client_for, charlie, workspace):
    assert client_for(charlie).get("/w/acme/").status_code == 404
    assert client_for(charlie).get("/w/acme/activity/").status_code == 404


def test_the_overview_takes_no_post(client_for, alice, workspace):
    assert client_for(alice).post("/w/acme/").status_code == 405


@pytest.mark.parametrize("rows", [1, 20])
def test_the_overview_asks_the_same_number_of_questions_however_much_there_is(
    client_for, alice, workspace, rows, django_assert_max_num_queries
):
    experiment = make_experiment(workspace)
    for number in range(rows):
        make_approach(make_experiment(workspace, name=f"No. {number}", dataset_version=experiment.dataset_version))
        make_job(workspace)
    client = client_for(alice)

    with django_assert_max_num_queries(20):
        assert client.get("/w/acme/").status_code == 200

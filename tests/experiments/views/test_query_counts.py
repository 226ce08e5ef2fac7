"""Pages of comparisons cost a fixed number of queries, whatever the number of runs and rows."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.comparison_data import make_finished_experiment, make_price_book

pytestmark = pytest.mark.django_db

NUMBERS = {"comparison-detail": 20, "comparison-state": 9, "comparison-table": 6, "comparison-examples": 9, "report-create": 14}


def cost(client, name, experiment):
    """Queries of a repeated look at a page."""
    address = reverse(name, args=["acme", experiment.pk])
    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return len(queries)


@pytest.mark.parametrize("num_runs", [12, 24])
def test_queries_do_not_grow_with_runs(client_for, alice, workspace, num_runs):
    experiment = make_finished_experiment(workspace, num_runs=num_runs, num_test=12, price_book=make_price_book(workspace))
    client = client_for(alice)

    assert {name: cost(client, name, experiment) for name in NUMBERS} == NUMBERS


def test_list_has_a_fixed_number_of_queries(client_for, alice, workspace):
    client = client_for(alice)
    for _ in range(3):
        make_finished_experiment(workspace, num_runs=2)

    client.get(reverse("comparison-list", args=["acme"]))
    with CaptureQueriesContext(connection) as queries:
        client.get(reverse("comparison-list", args=["acme"]))

    assert len(queries) == 7


@pytest.mark.slow
def test_fifty_runs_and_150_000_predictions_stay_within_the_budget(client_for, alice, workspace):
    """At most 30 queries a page."""
    experiment = make_finished_experiment(workspace, num_runs=50, num_validation=3_000, price_book=make_price_book(workspace))
    client = client_for(alice)

    assert all(cost(client, name, experiment) <= 30 for name in NUMBERS)

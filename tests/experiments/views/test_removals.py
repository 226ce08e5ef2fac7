"""The page that asks before deleting: it says what goes and what stands in the way, and only engineers and owners get it."""

import pytest
from django.urls import reverse

from experiments.models import Dataset, Experiment
from tests import factories
from tests.comparison_data import make_finished_experiment

pytestmark = pytest.mark.django_db


def test_engineer_is_told_what_goes_and_deletes(client_for, erin, workspace):
    client, experiment = client_for(erin), make_finished_experiment(workspace)
    data = reverse("dataset-delete", args=["acme", experiment.dataset_version.dataset_id])
    comparison = reverse("comparison-delete", args=["acme", experiment.pk])

    assert "Delete these first" in client.get(data).content.decode()
    assert client.post(data).status_code == 409
    assert "13 runs with every answer" in client.get(comparison).content.decode()
    assert client.post(comparison).status_code == 302
    assert "1 version with 120 rows" in client.get(data).content.decode()
    assert client.post(data).status_code == 302
    assert [each.objects.count() for each in (Dataset, Experiment)] == [0, 0]


def test_domain_expert_is_neither_offered_it_nor_let_in(client_for, dora, erin, workspace):
    version = factories.make_dataset_version(workspace)
    address = reverse("dataset-delete", args=["acme", version.dataset_id])
    page = reverse("dataset-version-detail", args=["acme", version.pk])

    assert address in client_for(erin).get(page).content.decode()
    assert address not in client_for(dora).get(page).content.decode()
    assert client_for(dora).post(address).status_code == 403
    assert Dataset.objects.exists()

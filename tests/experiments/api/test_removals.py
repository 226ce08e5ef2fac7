"""Deleting over the API: by engineers only, refused while something rests on it, remembered in the trail."""

import pytest

from experiments.models import AuditEntry, Dataset, Experiment, PromptTemplate, Role
from tests import factories
from tests.comparison_data import make_finished_experiment


@pytest.fixture
def engineer(caller_for, workspace):
    return caller_for(workspace, Role.ML_ENGINEER)


@pytest.fixture
def experiment(workspace):
    return make_finished_experiment(workspace, num_validation=6, num_runs=2)


def test_a_comparison_then_its_data_and_its_prompt_are_deleted(engineer, experiment):
    version = experiment.dataset_version
    prompt = experiment.approaches.first().template_version.template

    for noun, path in ((version.dataset, f"datasets/{version.dataset_id}"), (prompt, f"prompts/{prompt.pk}")):
        refused = engineer("delete", path)
        assert refused.status_code == 422
        assert experiment.name in refused.json()["error"]["message"]
        assert type(noun).objects.filter(pk=noun.pk).exists()
    for path in (f"experiments/{experiment.pk}", f"datasets/{version.dataset_id}", f"prompts/{prompt.pk}"):
        assert engineer("delete", path).status_code == 204
        assert engineer("delete", path).status_code == 404

    assert not any(noun.objects.exists() for noun in (Experiment, Dataset, PromptTemplate))
    remembered = AuditEntry.objects.filter(verb="deleted").values_list("target_id", flat=True)
    assert set(remembered) == {str(experiment.pk), str(version.dataset_id), str(prompt.pk)}


def test_a_comparison_that_goes_on_stays(engineer, workspace):
    run = factories.make_run(factories.make_approach(factories.make_experiment(workspace)))

    refused = engineer("delete", f"experiments/{run.approach.experiment_id}")

    assert refused.status_code == 422
    assert "Stop" in refused.json()["error"]["message"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DOMAIN_EXPERT])
def test_a_key_below_an_engineers_deletes_nothing(caller_for, workspace, experiment, role):
    call = caller_for(workspace, role)
    version = experiment.dataset_version
    prompt = experiment.approaches.first().template_version.template_id

    paths = (f"experiments/{experiment.pk}", f"datasets/{version.dataset_id}", f"prompts/{prompt}")
    assert [call("delete", path).status_code for path in paths] == [403, 403, 403]

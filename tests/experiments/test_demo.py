"""The demonstration's data, prompts and budgets fit each other."""

import csv
import io

import pytest

from experiments.catalogue.recipes import recipe_options
from experiments.demo.prompts import BARE, CAREFUL, OPTIONS, QUEUES, WORDINGS
from experiments.demo.story import BUDGETS, LAUNCH_KEY, NAME, demonstration_deleted, triage_csv
from experiments.prompting.slots import slot_names
from experiments.services.removals import experiment_delete
from tests import factories


def rows():
    return list(csv.DictReader(io.StringIO(triage_csv().decode())))


def test_every_message_has_a_queue_and_the_official_splits_stay():
    found = rows()

    assert {row["queue"] for row in found} == set(QUEUES)
    assert sum(row["split"] == "test" for row in found) == 3_080
    assert sum(row["split"] == "train" for row in found) == 10_003


def test_prompts_differ_in_care_but_not_in_the_slot():
    assert all(slot_names(wording.user, wording.answer_cue) == ("text",) for wording in WORDINGS)
    assert not any(queue in BARE.user for queue in QUEUES)
    assert all(queue in wording.user for queue in QUEUES for wording in (OPTIONS, CAREFUL))


def test_budgets_are_options_of_their_recipes():
    for recipe, budget in BUDGETS.items():
        assert budget.items() <= recipe_options(recipe, budget).items()


@pytest.mark.django_db
def test_a_demonstration_that_somebody_deleted_is_remembered(workspace, alice):
    assert demonstration_deleted(workspace) is None

    experiment = factories.make_experiment(workspace, name=NAME, launch_key=LAUNCH_KEY)
    assert demonstration_deleted(workspace) is None

    experiment_delete(experiment=experiment, by=alice)
    found = demonstration_deleted(workspace)
    assert found is not None
    assert found.actor_label == alice.email


@pytest.mark.django_db
def test_another_comparison_that_was_deleted_is_not_the_demonstration(workspace, alice):
    other = factories.make_experiment(workspace)
    copy = factories.make_experiment(workspace, name=NAME, dataset_version=other.dataset_version)

    experiment_delete(experiment=other, by=alice)
    assert demonstration_deleted(workspace) is None

    factories.make_experiment(workspace, name=NAME, launch_key=LAUNCH_KEY, dataset_version=other.dataset_version)
    experiment_delete(experiment=copy, by=alice)
    assert demonstration_deleted(workspace) is None

"""Plans with hosted models: what joins, what is refused, and why."""

from dataclasses import replace
from decimal import Decimal

import pytest

from experiments.catalogue.recipes import PACK
from experiments.models import Queue, Run
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.checks import plan_problems
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.services.launches import experiment_start
from tests import factories

pytestmark = pytest.mark.django_db
ADDRESS = {"kind": "hosted", "source": "https://api.example.com/v1", "remote_model": "tiny"}


@pytest.fixture
def hosted(workspace):
    return factories.make_backbone(workspace, name="Far away", **ADDRESS)


@pytest.fixture
def starter(db):
    return factories.make_backbone()


@pytest.fixture
def choice(workspace, starter):
    version = factories.make_dataset_version(workspace)
    return Choice(version, PACK, [factories.make_template_version(workspace)], starter)


def plan_of(choice: Choice, **changes) -> ExperimentPlan:
    approaches, _ = approaches_expand(choice=choice)
    return ExperimentPlan("Which?", choice.dataset_version, approaches, **changes)


def test_hosted_model_answers_the_written_prompts_beside_the_other_approaches(choice, hosted):
    plan = plan_of(replace(choice, endpoints=[hosted]))

    assert plan_problems(plan) == []
    assert [approach.shown_name for approach in plan.approaches if approach.asks_endpoint] == ["Zero-shot: Careful v1 on Far away"]
    assert {approach.family for approach in plan.approaches} == {"engineered", "tuned", "hybrid", "hosted", "baseline"}


@pytest.mark.parametrize("recipe", ["few_shot_random", "few_shot_balanced"])
def test_examples_are_drawn_for_a_hosted_model_too(choice, hosted, recipe):
    drawing = ApproachPlan(recipe, hosted, choice.templates[0], {"num_examples": 2})

    plan = ExperimentPlan("Which?", choice.dataset_version, (drawing,), curve_when_finished=False)

    assert plan_problems(plan) == []
    assert (drawing.family, plan.curve_methods) == ("hosted", [])


def test_hosted_runs_wait_in_the_io_queue_and_the_others_for_the_accelerator(choice, hosted, workspace):
    experiment_start(workspace=workspace, by=None, plan=plan_of(replace(choice, endpoints=[hosted])), key="k")

    queues = {run.approach.family: run.job.queue for run in Run.objects.select_related("approach", "job")}
    assert queues["hosted"] == Queue.HOSTED
    assert {queue for family, queue in queues.items() if family != "hosted"} == {Queue.GPU}


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("soft_prompt", "Soft prompt is trained inside the model"),
        ("hybrid", "Hybrid is trained inside the model"),
        ("lora", "LoRA is trained inside the model"),
        ("linear_probe", "reads the model's inner states"),
        ("few_shot_nearest", "needs the model's inner states"),
        ("prior_corrected", "compares the log-likelihood of every label"),
        ("label_bias", "compares the log-likelihood of every label"),
    ],
)
def test_what_an_endpoint_cannot_do_is_refused_with_the_reason(choice, hosted, recipe, words):
    plan = ExperimentPlan("Which?", choice.dataset_version, (ApproachPlan(recipe, hosted, choice.templates[0]),))

    assert any(words in problem and "Far away" in problem for problem in plan_problems(plan))


def test_baselines_without_a_model_run_beside_a_hosted_one(choice, hosted):
    approaches, notes = approaches_expand(choice=replace(choice, backbone=hosted, recipes=["zero_shot"]))

    assert [approach.family for approach in approaches] == ["hosted", "baseline", "baseline", "baseline"]
    assert any("Linear probe is left out" in note for note in notes)


def test_budget_in_money_needs_prices(choice, hosted):
    plan = plan_of(replace(choice, endpoints=[hosted]), endpoint_money=Decimal(5))

    assert any("needs prices to count by" in problem for problem in plan_problems(plan))

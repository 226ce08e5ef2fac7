"""An estimate adds up what was measured before, and says what was not."""

from dataclasses import replace

import pytest

from experiments.models import Backbone
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.plans import ExperimentPlan
from experiments.reads.estimates import measured_speeds, plan_estimate
from tests import factories
from tests.comparison_data import make_finished_experiment

pytestmark = pytest.mark.django_db


def make_plan(workspace, recipes, backbone):
    version = factories.make_dataset_version(workspace, factories.ROWS * 1)
    choice = Choice(version, recipes, [factories.make_template_version(workspace)], backbone)
    return ExperimentPlan("Which?", version, approaches_expand(choice=choice)[0], seeds=(0, 1))


def test_size_of_a_plan_is_counted(workspace):
    estimate = plan_estimate(make_plan(workspace, ["zero_shot", "lora"], factories.make_backbone()))

    assert (estimate.num_approaches, estimate.num_runs) == (6, 7)
    assert estimate.num_predictions == 7 * 2
    assert estimate.num_test_predictions == 7 * 2
    assert estimate.num_steps == 2 * 250


def test_every_configuration_is_counted(workspace):
    plan = make_plan(workspace, ["zero_shot", "lora"], factories.make_backbone())

    estimate = plan_estimate(replace(plan, configurations=3))

    assert estimate.num_steps == 2 * (3 * 100 + 150)
    assert estimate.num_configurations == 3 + 2 * 3


def test_runs_without_configurations_are_counted_apart_so_that_the_two_numbers_add_up(workspace):
    estimate = plan_estimate(make_plan(workspace, ["zero_shot", "lora"], factories.make_backbone()))

    assert (estimate.num_runs, estimate.num_configurations, estimate.num_plain_runs) == (7, 3, 4)


def test_time_is_unknown_until_the_first_run(workspace):
    estimate = plan_estimate(make_plan(workspace, ["lora"], factories.make_backbone()))

    assert estimate.seconds is None
    assert estimate.time_text == "Time: unknown until the first run of these approaches on this model."


def test_time_adds_up_what_earlier_runs_of_the_model_took(workspace):
    make_finished_experiment(workspace)
    backbone = Backbone.objects.get(name="Seeded starter")
    speeds = measured_speeds(backbone)
    assert speeds["lora"].rows_per_second == 186.0
    assert speeds["lora"].seconds_per_step == pytest.approx((96 + 9) / 250)

    estimate = plan_estimate(make_plan(workspace, ["lora"], backbone))

    assert estimate.unknown == ()
    assert estimate.seconds == pytest.approx(2 * 105, rel=0.01)
    assert "about 4 minutes" in estimate.time_text


def test_what_was_never_measured_is_named(workspace):
    make_finished_experiment(workspace, num_runs=1)

    estimate = plan_estimate(make_plan(workspace, ["zero_shot", "lora"], Backbone.objects.get(name="Seeded starter")))

    assert "LoRA" in estimate.unknown
    assert "Not counted, because never run on this model" in estimate.time_text


def test_calls_of_an_endpoint_are_counted_for_each_step(workspace):
    version = factories.make_dataset_version(workspace)
    hosted = factories.make_backbone(workspace, name="Far", kind="hosted", source="https://api.example.com/v1", remote_model="x")
    chain = factories.make_template_version(workspace, first_step={"text": "{{text}}", "max_tokens": 8, "stop": []}, user="{{step_1}}")
    plain = factories.make_template_version(workspace, name="Plain")
    choice = Choice(version, ["zero_shot"], [chain, plain], hosted)

    estimate = plan_estimate(ExperimentPlan("Which?", version, approaches_expand(choice=choice)[0]))

    assert (estimate.num_calls, estimate.num_test_calls) == (2 * 3, 2 * 3)


def test_a_prompt_of_two_steps_has_a_speed_of_its_own(workspace):
    make_finished_experiment(workspace)
    backbone = Backbone.objects.get(name="Seeded starter")
    version = factories.make_dataset_version(workspace)
    chain = factories.make_template_version(workspace, first_step={"text": "{{text}}", "max_tokens": 8, "stop": []}, user="{{step_1}}")

    plan = ExperimentPlan("Which?", version, approaches_expand(choice=Choice(version, ["zero_shot"], [chain], backbone))[0])

    assert plan_estimate(plan).unknown[0].startswith("Zero-shot")

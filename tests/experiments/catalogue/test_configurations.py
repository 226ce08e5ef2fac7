"""Every approach of a comparison tries as many configurations as every other, or says why it cannot."""

import pytest

from experiments.catalogue.configurations import num_configurations, sweep_rows, sweep_steps
from experiments.catalogue.recipes import CATALOGUE, recipe_options
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.checks import plan_problems
from experiments.planning.plans import ExperimentPlan
from tests import factories

pytestmark = pytest.mark.django_db
ONE = {"few_shot_nearest", "prior_corrected", "label_bias", "search_gepa", "search_miprov2"}


@pytest.fixture
def make_plan(workspace):
    def build(recipes, configurations=4, options=None, backbone=None):
        version = factories.make_dataset_version(workspace)
        shown = [{"example": None, "fields": {"text": "x"}, "label": "refund"}]
        prompts = [factories.make_template_version(workspace), factories.make_template_version(workspace, name="B", demonstrations=shown)]
        choice = Choice(version, recipes, prompts, backbone or factories.make_backbone(), options=options or {})
        return ExperimentPlan("Which?", version, approaches_expand(choice=choice)[0], configurations=configurations)

    return build


def tried(plan):
    return {each.recipe: num_configurations(recipe_options(each.recipe, each.options)) for each in plan.approaches}


def test_all_approaches_get_the_same_number_but_those_that_have_nothing_to_try(make_plan):
    recipes = [kind.key for kind in CATALOGUE.values() if kind.family != "baseline"]

    numbers = tried(make_plan(recipes))

    assert {key for key, number in numbers.items() if number == 1} - ONE == {
        kind.key for kind in CATALOGUE.values() if kind.family == "baseline"
    }
    assert {number for key, number in numbers.items() if number > 1} == {4}


def test_one_configuration_leaves_everything_as_it_is_set(make_plan):
    plan = make_plan(["zero_shot", "lora", "prompt_search"], configurations=1)

    assert [approach.options for approach in plan.approaches if approach.kind.family != "baseline"] == [{}, {}, {}]


def test_what_somebody_set_for_one_approach_stays(make_plan):
    plan = make_plan(["lora", "prompt_search"], options={"lora": {"configurations": 2}, "prompt_search": {"max_candidates": 30}})

    assert tried(plan)["lora"] == 2
    assert tried(plan)["prompt_search"] == 30


def test_a_hosted_model_is_not_asked_for_further_wordings(make_plan, workspace):
    plan = make_plan(["zero_shot"], backbone=factories.make_backbone(workspace, kind="hosted"))

    [approach] = [each for each in plan.approaches if each.recipe == "zero_shot"]
    assert approach.options == {}
    assert "billed" in approach.reason_for_one


@pytest.mark.parametrize(
    ("recipe", "options", "reason"),
    [
        ("few_shot_nearest", {"configurations": 3}, "every row draws examples of its own"),
        ("zero_shot", {"configurations": 3, "score": "mean"}, "chosen by another score"),
    ],
)
def test_more_than_can_be_tried_is_refused_before_launch(make_plan, recipe, options, reason):
    problems = plan_problems(make_plan([recipe], configurations=1, options={recipe: options}))

    assert any(reason in problem and "Set its configurations to 1" in problem for problem in problems)


@pytest.mark.parametrize("number", [0, 65])
def test_a_number_out_of_range_is_refused(make_plan, number):
    assert any("it can try from 1 to 64" in problem for problem in plan_problems(make_plan(["lora"], configurations=number)))


def test_steps_of_a_sweep_are_counted_by_its_rounds():
    options = recipe_options("lora", {"configurations": 3})

    assert sweep_steps(recipe_options("lora", {})) == 250
    assert sweep_steps(options) == 3 * 100 + 150
    assert sweep_steps({**options, "rounds": "whole"}) == 3 * 250
    assert sweep_steps(recipe_options("zero_shot", {"configurations": 3})) == 0
    assert sweep_rows(recipe_options("zero_shot", {"configurations": 3}), 200) == 600
    assert sweep_rows(options, 200) == 0

"""Training that starts from a tuned prompt of the library: what fits, and the sentence when it does not."""

import re

import pytest

from experiments.catalogue.recipes import CATALOGUE, recipe_options
from experiments.models import DatasetVersion, Experiment, TemplateVersion
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.checks import plan_problems
from experiments.planning.plans import ApproachPlan
from tests import factories
from tests.experiments.planning.test_checks import make_plan, problem_of  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture
def backbone():
    return factories.make_backbone()


@pytest.fixture
def make_tuned(workspace, backbone):
    def build(recipe="soft_prompt", **options):
        approach = factories.make_approach(
            Experiment.objects.first() or factories.make_experiment(workspace),
            name=CATALOGUE[recipe].name,
            method=CATALOGUE[recipe].method,
            recipe=recipe_options(recipe, options),
            backbone=backbone,
        )
        return factories.make_artifact(factories.make_run(approach))

    return build


@pytest.fixture
def planned(workspace, make_plan, backbone):  # noqa: F811
    def build(recipe, start, *, on=None, **options):
        prompt = TemplateVersion.objects.first() or factories.make_template_version(workspace)
        version = DatasetVersion.objects.first() or factories.make_dataset_version(workspace)
        approach = ApproachPlan(recipe, on or backbone, prompt, options, start=start)
        return make_plan(version=version, templates=[prompt], backbone=backbone, approaches=(approach,))

    return build


def test_a_soft_prompt_starts_from_whatever_learned_as_many_vectors(make_tuned, planned):
    assert plan_problems(planned("soft_prompt", make_tuned("soft_prompt"))) == []
    assert plan_problems(planned("hybrid", make_tuned("p_tuning"))) == []


@pytest.mark.parametrize("recipe", ["prefix", "lora", "ia3", "adapter_houlsby", "full", "cpt", "p_tuning"])
def test_every_method_starts_from_its_own(make_tuned, planned, recipe):
    assert plan_problems(planned(recipe, make_tuned(recipe))) == []


@pytest.mark.parametrize(
    ("recipe", "made_by", "options", "sentence"),
    [
        ("zero_shot", "soft_prompt", {}, "Zero-shot learns no part of its own"),
        (
            "lora",
            "soft_prompt",
            {},
            r"LoRA cannot start from “Soft prompt · .*”: it can start from LoRA, Template . LoRA, rsLoRA and DoRA\.",
        ),
        ("soft_prompt", "soft_prompt", {"num_virtual_tokens": 8}, "it has 20 learned tokens, this one 8. Set Learned tokens to 20"),
        ("lora", "lora", {"rank": 4}, "its rank is 8, this one's 4. Set Rank to 8"),
        ("dora", "lora", {}, "its variant is plain, this one's dora. Choose the approach that it was made by"),
        ("adapter_pfeiffer", "adapter_houlsby", {}, "its place is houlsby"),
    ],
)
def test_another_method_or_shape_is_refused(make_tuned, planned, recipe, made_by, options, sentence):
    assert re.search(sentence, problem_of(planned(recipe, make_tuned(made_by), **options)))


def test_another_model_is_refused(make_tuned, planned):
    other = factories.make_backbone(name="Bigger")

    assert "was made on “Starter”, this one runs on “Bigger”" in problem_of(planned("lora", make_tuned("lora"), on=other))


def test_a_choice_gives_the_start_to_its_recipe_alone(workspace, make_tuned, backbone):
    start = make_tuned()
    prompt, version = factories.make_template_version(workspace), DatasetVersion.objects.get()
    choice = Choice(version, ["soft_prompt", "hybrid"], [prompt], backbone, starts={"hybrid": start})

    approaches, _ = approaches_expand(choice=choice)

    assert {approach.recipe: approach.start for approach in approaches[:2]} == {"soft_prompt": None, "hybrid": start}


@pytest.mark.parametrize(("recipe", "dtype", "refused"), [("full", "8bit", 1), ("full", "bf16", 0), ("lora", "4bit", 0)])
def test_only_full_fine_tuning_of_few_bits_is_refused(planned, recipe, dtype, refused):
    small = factories.make_backbone(name="Packed", dtype=dtype)

    problems = plan_problems(planned(recipe, None, on=small))

    assert len(problems) == refused
    assert all("holds them in " + small.get_dtype_display() + ", which cannot learn. Choose LoRA" in each for each in problems)


def test_full_fine_tuning_beyond_the_memory_of_a_job_is_refused(settings, planned):
    settings.JOB_MEMORY_LIMIT_BYTES = 2**30
    big = factories.make_backbone(name="Big", facts={"parameters": 10**9})

    assert "needs about 18.6 GiB of memory; a job may use 1.0 GiB" in problem_of(planned("full", None, on=big))

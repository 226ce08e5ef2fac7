"""What is said of a plan although it can start."""

from dataclasses import replace

import pytest

from experiments.planning.notes import plan_notes
from tests import factories
from tests.experiments.planning.test_checks import make_plan  # noqa: F401

pytestmark = pytest.mark.django_db


def test_a_prefix_on_an_encoder_decoder_is_said_to_be_for_the_decoder_only(make_plan):  # noqa: F811
    t5 = factories.make_backbone(name="Flan", facts={"family": "t5"})

    [note] = plan_notes(make_plan(backbone=t5, recipes=["prefix", "soft_prompt"]))

    assert note.startswith("Prefix on Flan: The prefix is for the decoder only")


def test_nothing_is_said_of_what_is_what_its_name_says(make_plan):  # noqa: F811
    assert plan_notes(make_plan(backbone=factories.make_backbone(facts={"family": "llama"}), recipes=["prefix"])) == []


def test_a_search_beside_approaches_of_one_configuration_says_how_many_prompts_it_tries(make_plan):  # noqa: F811
    plan = make_plan(recipes=["zero_shot", "prompt_search"])

    assert plan_notes(plan) == [
        "Prompt search tries up to 64 prompts on validation rows, while the others run as they are set. "
        "A higher number of configurations of each approach is the same for all of them."
    ]
    assert plan_notes(replace(plan, configurations=8)) == []


def test_a_training_shorter_than_its_warm_up_or_its_looks_is_said_once_for_all_that_share_it(make_plan):  # noqa: F811
    short = {"max_steps": 10}
    plan = make_plan(options={"soft_prompt": short, "lora": short, "hybrid": {"max_steps": 40}})

    assert plan_notes(plan) == [
        "Soft prompt and LoRA: warm-up takes 20 steps and the whole training 10 steps, so the learning rate only rises. "
        "Choose a shorter warm-up or more steps.",
        "Soft prompt and LoRA: with a look every 50 steps and 10 steps in all, only the start and the end are looked at. "
        "Look more often, so that a better step between them can be kept.",
        "Hybrid: with a look every 50 steps and 40 steps in all, only the start and the end are looked at. "
        "Look more often, so that a better step between them can be kept.",
    ]


def test_a_warm_up_and_looks_that_fit_into_the_steps_are_not_mentioned(make_plan):  # noqa: F811
    assert plan_notes(make_plan(options={"lora": {"max_steps": "50", "warmup_steps": "49", "evaluate_every": 50}})) == []


@pytest.mark.parametrize(
    ("recipe", "options", "sentence"),
    [
        ("lora", {"batch_size": 4096}, "LoRA: a batch of 4,096 rows, but 4 train rows in all, so every step takes all."),
        (
            "soft_prompt",
            {"chosen_on": "inner", "inner_share": "0.5"},
            "Soft prompt: 2 train rows set aside would be too few to choose the step by, so validation rows choose it. "
            "Set a larger share aside, or add train rows.",
        ),
        ("dora", {"rank": 65}, "DoRA: the rank 65 is above the model's width (64); what is beyond that costs memory and adds little."),
    ],
)
def test_a_dial_that_is_larger_than_what_there_is_is_said(make_plan, recipe, options, sentence):  # noqa: F811
    backbone = factories.make_backbone(facts={"hidden_size": 64})

    assert plan_notes(make_plan(backbone=backbone, recipes=[recipe], options={recipe: options})) == [sentence]

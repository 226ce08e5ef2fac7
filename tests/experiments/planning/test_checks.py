"""What stands against a launch, a sentence each."""

from dataclasses import replace

import pytest

from experiments.catalogue.generation import GenerationPlan
from experiments.catalogue.recipes import PACK
from experiments.models import DatasetVersion
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.checks import plan_problems
from experiments.planning.plans import ExperimentPlan
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_plan(workspace):
    def build(*, version=None, templates=None, backbone=None, recipes=PACK, options=None, **overrides):
        version = version or factories.make_dataset_version(workspace)
        templates = templates or [factories.make_template_version(workspace)]
        choice = Choice(version, recipes, templates, backbone or factories.make_backbone(), options=options or {})
        approaches, _ = approaches_expand(choice=choice)
        return ExperimentPlan(**{"name": "Which?", "dataset_version": version, "approaches": approaches} | overrides)

    return build


def problem_of(plan):
    problems = plan_problems(plan)
    assert len(problems) == 1, problems
    return problems[0]


def test_a_good_plan_has_no_problem(make_plan):
    assert plan_problems(make_plan()) == []


def test_incomplete_data_is_refused(make_plan):
    plan = make_plan()
    DatasetVersion.objects.update(completed_at=None)
    plan.dataset_version.refresh_from_db()

    assert problem_of(plan) == "Support mail v1 is not complete. Finish its upload under Data, then choose it here."


def test_no_train_rows_for_what_learns(make_plan, workspace):
    version = factories.make_dataset_version(workspace, [row for row in factories.ROWS if row[0] != "train"])

    assert "has no train rows, but Hybrid, Linear probe, LoRA" in problem_of(make_plan(version=version))


def test_label_missing_from_train(make_plan, workspace):
    rows = [row for row in factories.ROWS if row[:1] + row[2:] != ("train", "delivery")]

    assert "No train row has the label “delivery”" in problem_of(make_plan(version=factories.make_dataset_version(workspace, rows)))


def test_slot_without_column(make_plan, workspace):
    template = factories.make_template_version(workspace, user="Read {{txet}}")

    assert problem_of(make_plan(templates=[template])) == (
        "Prompt “Careful v1”: The slot {{txet}} has no column in the data. Did you mean {{text}}?"
    )


def test_one_word_for_two_labels(make_plan, workspace):
    template = factories.make_template_version(workspace, answer_words={"refund": ["yes"], "delivery": ["yes"]})

    assert "lets “yes” stand for both “refund” and “delivery”" in problem_of(make_plan(templates=[template]))


def test_examples_from_rows_that_are_scored(make_plan, workspace):
    version = factories.make_dataset_version(workspace)
    leaked = version.examples.get(position=5)
    shown = [{"example": leaked.pk, "fields": leaked.fields, "label": leaked.label}]
    plain, leaking = (
        factories.make_template_version(workspace),
        factories.make_template_version(workspace, name="Leaky", demonstrations=shown),
    )

    assert "shows 1 row of the validation or test split" in problem_of(make_plan(version=version, templates=[plain, leaking]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"problem": "It wants to run code of its own."}, "was refused: It wants to run code of its own."),
        ({"kind": "local", "verified_at": None}, "has not been verified by a worker"),
    ],
)
def test_model_that_cannot_be_used(make_plan, fields, words):
    assert words in problem_of(make_plan(backbone=factories.make_backbone(**fields)))


def test_learned_tokens_beyond_the_window(make_plan):
    plan = make_plan(backbone=factories.make_backbone(facts={"window": 512}), options={"soft_prompt": {"num_virtual_tokens": 600}})

    assert problem_of(plan).startswith("Soft prompt: 600 learned tokens do not fit into the 512 tokens")


@pytest.mark.parametrize(
    ("recipe", "options"),
    [("soft_prompt", {"init": "random"}), ("prefix", {"init": "zero"}), ("hybrid", {"init": "vocabulary"})],
)
def test_as_many_learned_tokens_as_a_text_that_is_not_there(make_plan, recipe, options):
    problem = problem_of(make_plan(recipes=[recipe], options={recipe: {**options, "num_virtual_tokens": 0}}))

    assert "0 learned tokens means as many as its start text has, and it starts from no text." in problem


@pytest.mark.parametrize("init", ["template", "label_words"])
def test_as_many_learned_tokens_as_the_words_have(make_plan, init):
    assert plan_problems(make_plan(recipes=["soft_prompt"], options={"soft_prompt": {"num_virtual_tokens": 0, "init": init}})) == []


def test_no_text_before_the_row_to_start_from(make_plan, workspace):
    bare = factories.make_template_version(workspace, user="{{text}}\nWhich queue?")
    plain, version = factories.make_backbone(facts={"has_chat_template": False}), factories.make_dataset_version(workspace)

    def problems(backbone=plain, template=bare, **options):
        recipes = ["soft_prompt", "lora", "p_tuning"]
        return plan_problems(
            make_plan(version=version, templates=[template], backbone=backbone, recipes=recipes, options={"soft_prompt": options})
        )

    assert problems() == [
        "Soft prompt is to start from the text before the row, but “Careful v1” has none there. Give it a start text, "
        "or let it start from the answer words or the vocabulary."
    ]
    assert problems(init="label_words") == problems(init_text="Sort the mail.") == []
    assert problems(factories.make_backbone(name="Chat", facts={"has_chat_template": True})) == []
    shown = [{"fields": {"text": "Where is it?"}, "label": "delivery"}]
    for name, text in {"system": "Sort the mail.", "demonstrations": shown}.items():
        assert problems(template=factories.make_template_version(workspace, name=name, user="{{text}}", **{name: text})) == []


def test_no_answer_words_to_start_from_where_answers_are_free(make_plan, workspace):
    version = factories.make_dataset_version(workspace, task="extraction", labels=[])
    plan = make_plan(version=version, recipes=["soft_prompt"], options={"soft_prompt": {"init": "label_words"}})

    assert problem_of(plan) == (
        "Soft prompt is to start from the answer words, but Support mail v1 has free answers. Let it start from the written prompt."
    )


def test_an_approach_that_the_models_family_cannot_run(make_plan):
    backbone = factories.make_backbone(name="State space", facts={"family": "mamba"})

    problem = problem_of(make_plan(backbone=backbone, recipes=["zero_shot", "prefix"]))

    assert problem.startswith("Prefix cannot run on “State space”. Prefix tuning learns keys and values")


def test_a_family_that_nobody_tried_may_be_launched(make_plan):
    assert plan_problems(make_plan(backbone=factories.make_backbone(facts={"family": "falcon"}), recipes=["zero_shot", "prefix"])) == []


@pytest.mark.parametrize(
    ("seeds", "words"),
    [((), "need at least one seed"), ((1, 1), "given twice"), (tuple(range(30)), "at most 20"), ((-1,), "out of range")],
)
def test_bad_seeds(make_plan, seeds, words):
    assert words in problem_of(make_plan(seeds=seeds))


def test_column_to_cut_must_be_named_and_shown(make_plan):
    assert "Choose the column to cut" in problem_of(make_plan(too_long="truncate"))


def test_opening_test_rows_that_are_not_there(make_plan, workspace):
    version = factories.make_dataset_version(workspace, [row for row in factories.ROWS if row[0] != "test"])

    assert "has no test rows to open" in problem_of(make_plan(version=version, open_test_when_finished=True))


def test_too_many_runs(make_plan, workspace):
    templates = [factories.make_template_version(workspace, name=f"P{number}") for number in range(200)]

    assert "would make 210 runs; a comparison holds 200" in problem_of(make_plan(templates=templates))


def test_more_examples_than_train_rows(make_plan):
    plan = make_plan(recipes=["few_shot_nearest"], options={"few_shot_nearest": {"num_examples": 9}})

    assert "9 examples are to be shown" in problem_of(plan)


def test_what_weighs_labels_needs_labels(make_plan, workspace):
    version = factories.make_dataset_version(workspace, task="extraction", labels=[])

    assert "Label bias and Prior-corrected weigh labels" in problem_of(
        make_plan(version=version, recipes=["label_bias", "prior_corrected"])
    )


def test_free_answers_are_not_chosen_by_another_score(make_plan, workspace):
    version = factories.make_dataset_version(workspace, task="extraction", labels=[])
    plan = make_plan(version=version, recipes=["zero_shot"], options={"zero_shot": {"score": "mean"}})

    assert "Zero-shot is to choose labels by another score, and free answers have none." in problem_of(plan)


def test_an_answer_as_long_as_the_model_can_hold_leaves_no_room_for_a_row(make_plan, workspace):
    version = factories.make_dataset_version(workspace, task="extraction", labels=[])
    plan = make_plan(version=version, recipes=["zero_shot"], backbone=factories.make_backbone(facts={"window": 1024}))

    assert plan_problems(replace(plan, generation=GenerationPlan(max_new_tokens=1023))) == []
    assert "An answer may have 1,024 tokens, which leaves no room for a row in the 1,024" in problem_of(
        replace(plan, generation=GenerationPlan(max_new_tokens=1024))
    )


THINK = {"text": "What does the customer want? {{text}}", "max_tokens": 9, "stop": ["\n"]}


def make_chain(workspace, **overrides):
    chained = {"name": "Two steps", "user": "Wish: {{step_1}}\n{{text}}", "first_step": THINK}
    return factories.make_template_version(workspace, **(chained | overrides))


def test_a_prompt_of_two_steps_is_compared_beside_what_starts_from_another(workspace, make_plan):
    chain, plain = make_chain(workspace), factories.make_template_version(workspace)

    plan = make_plan(templates=[chain, plain])

    assert plan_problems(plan) == []
    assert [approach.template_version for approach in plan.approaches[:4]] == [chain, plain, plain, plain]


def test_what_is_tuned_or_searched_for_refuses_a_first_step(workspace, make_plan):
    recipes = ["zero_shot", "soft_prompt", "prompt_search"]

    assert problem_of(make_plan(templates=[make_chain(workspace)], recipes=recipes)) == (
        "Prompt search and Soft prompt start from a prompt of one step, but “Two steps v1” has a first step. "
        "Choose a prompt without one as the start, or leave them out."
    )


def test_a_first_step_as_long_as_the_model_can_hold_is_refused(workspace, make_plan):
    chain = make_chain(workspace, first_step=THINK | {"max_tokens": 64})
    plan = make_plan(templates=[chain], recipes=["zero_shot"], backbone=factories.make_backbone(facts={"window": 64}))

    assert "The first step of “Two steps v1” may have 64 tokens" in problem_of(plan)


def test_a_first_step_of_other_data_is_refused(workspace, make_plan):
    chain = make_chain(workspace, first_step=THINK | {"text": "{{body}}"})

    assert problem_of(make_plan(templates=[chain], recipes=["zero_shot"])).startswith(
        "Prompt “Two steps v1”: First step: The slot {{body}} has no column in the data."
    )


def test_a_column_that_only_the_first_step_shows_may_be_cut(workspace, make_plan):
    chain = make_chain(workspace, user="Wish: {{step_1}}")
    cut = {"too_long": "truncate", "truncate_column": "text"}

    assert plan_problems(make_plan(templates=[chain], recipes=["zero_shot", "few_shot"], **cut)) == []

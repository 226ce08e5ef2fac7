"""Who may teach a tuned approach, and the sentence when somebody may not."""

import pytest

from experiments.approach_choice import Choice, approaches_expand
from experiments.models import Evaluation
from experiments.plan_checks import plan_problems
from experiments.plans import ApproachPlan, ExperimentPlan
from experiments.teachers import Teacher
from tests import factories

pytestmark = pytest.mark.django_db
SHOWN = [{"example": None, "fields": {"text": "pay me back"}, "label": "refund"}]


@pytest.fixture
def version(workspace):
    return factories.make_dataset_version(workspace)


@pytest.fixture
def few_shot(workspace):
    return factories.make_template_version(workspace, name="Shown", demonstrations=SHOWN)


@pytest.fixture
def answered(workspace, version):
    """Answers of a finished run to the train rows."""

    def build(**overrides) -> Evaluation:
        summary = overrides.pop("summary", {"n": 2, "accuracy": 1.0})
        given = {"dataset_version": overrides.pop("dataset_version", version), "split": overrides.pop("split", "train")}
        done = overrides.pop("done", True)
        approach = factories.make_approach(
            factories.make_experiment(workspace, name="Larger", dataset_version=given["dataset_version"]), **overrides
        )
        run = factories.make_run(approach, state="succeeded")
        attempt = factories.make_attempt(run.job) if done else None
        return factories.make_evaluation(run, **given, attempt=attempt, summary=summary)

    return build


@pytest.fixture
def problems(workspace, version):
    prompt, model = factories.make_template_version(workspace, name="Student"), factories.make_backbone()

    def of(teacher, *, recipe="distilled", **options):
        approach = ApproachPlan(recipe, model, prompt, options, teacher=teacher)
        return plan_problems(ExperimentPlan("Which?", version, (approach,)))

    return of


def test_a_distilled_prompt_learns_from_the_prompt_with_the_most_examples_unless_told(workspace, version, few_shot):
    bare = factories.make_template_version(workspace, name="Bare")
    other = Teacher(version=bare)
    choices = [
        Choice(version, ["distilled", "soft_prompt"], [bare, few_shot], factories.make_backbone(name=name), teachers=teachers)
        for name, teachers in (("A", {}), ("B", {"distilled": other}))
    ]

    first, second = [{plan.recipe: plan for plan in approaches_expand(choice=choice)[0]} for choice in choices]

    assert first["distilled"].teacher == Teacher(version=few_shot)
    assert first["distilled"].template_version == bare
    assert first["soft_prompt"].teacher is None
    assert second["distilled"].teacher == other


def test_without_any_teacher_it_is_refused(problems):
    assert problems(None) == [
        "Distilled soft prompt needs a teacher. Choose a prompt with examples, or a run that has answered the train rows."
    ]


def test_a_prompt_and_answers_of_another_run_can_teach(problems, few_shot, answered):
    assert problems(Teacher(version=few_shot)) == []
    assert problems(Teacher(evaluation=answered())) == []


def test_any_tuned_approach_can_be_taught_but_no_written_one(problems, few_shot):
    assert problems(Teacher(version=few_shot), recipe="lora") == []
    [sentence] = problems(Teacher(version=few_shot), recipe="zero_shot")
    assert "learns no part of its own, so nobody can teach it" in sentence


def test_answers_to_other_data_are_refused(workspace, problems, answered):
    other = factories.make_dataset_version(workspace, dataset=factories.make_dataset(workspace, name="Other mail"))

    [sentence] = problems(Teacher(evaluation=answered(dataset_version=other)))

    assert "its answers are to rows of Other mail v1, whose labels may differ" in sentence


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"done": False}, "it has not answered all the train rows"),
        ({"split": "validation"}, "these are validation rows"),
        (
            {"family": "hosted", "summary": {"n": 2, "endpoint": {"read_by": {"text": 2}, "top_logprobs": 0}}},
            "its endpoint tells no log-probabilities. Let it learn the teacher's answers instead",
        ),
        ({"method": "label_bias"}, "chosen by more than their log-likelihoods"),
        ({"recipe": {"score": "mean"}}, "chosen by more than their log-likelihoods"),
    ],
)
def test_answers_that_cannot_teach_are_refused(problems, answered, overrides, words):
    [sentence] = problems(Teacher(evaluation=answered(**overrides)))

    assert words in sentence


def test_an_endpoint_without_log_probabilities_teaches_its_answers(problems, answered):
    silent = answered(family="hosted", summary={"n": 2, "endpoint": {"read_by": {"text": 2}, "top_logprobs": 0}})

    assert problems(Teacher(evaluation=silent), targets="labels") == []


def test_a_teachers_prompt_that_shows_a_test_row_is_refused(workspace, version, problems):
    row = version.examples.filter(split="test").first()
    leaking = factories.make_template_version(
        workspace, name="Leak", demonstrations=[{"example": row.pk, "fields": row.fields, "label": row.label}]
    )

    [sentence] = problems(Teacher(version=leaking))

    assert "1 row of the validation or test split as examples" in sentence


def test_free_answers_have_no_distribution_to_learn(workspace, few_shot):
    version = factories.make_dataset_version(
        workspace, task="extraction", labels=[], dataset=factories.make_dataset(workspace, name="Texts")
    )
    prompt = factories.make_template_version(workspace, name="Student")
    plan = ApproachPlan("distilled", factories.make_backbone(), prompt, {}, teacher=Teacher(version=few_shot))

    found = plan_problems(ExperimentPlan("Which?", version, (plan,)))

    assert any("free answers have no labels to be likely or not" in sentence for sentence in found)

"""Who may teach a tuned approach, and the sentence when somebody may not."""

from datetime import timedelta

import pytest

from experiments.models import Evaluation
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.checks import plan_problems
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.planning.teachers import Teacher, answers_heard
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


def with_unlabelled(version):
    version.split_counts = version.split_counts | {"unlabelled": 9}
    version.save()


@pytest.mark.parametrize("learns_on", ["unlabelled", "both"])
def test_unlabelled_rows_that_the_data_has_not_are_refused_in_one_sentence(problems, few_shot, answered, learns_on):
    for teacher in (Teacher(version=few_shot), Teacher(evaluation=answered())):
        [sentence] = problems(teacher, learns_on=learns_on)

        assert sentence.startswith("Distilled soft prompt is to learn on unlabelled rows, but Support mail v1 has none.")


@pytest.mark.parametrize("learns_on", ["unlabelled", "both"])
def test_a_prompt_can_teach_unlabelled_rows(problems, version, few_shot, learns_on):
    with_unlabelled(version)

    assert problems(Teacher(version=few_shot), learns_on=learns_on) == []


@pytest.mark.parametrize(
    ("split", "learns_on", "words"),
    [
        ("unlabelled", "unlabelled", None),
        ("unlabelled", "train", "these are unlabelled rows. Let the run answer the train rows first, or let it learn on unlabelled rows."),
        ("train", "unlabelled", "these are train rows. Let the run answer the unlabelled rows first, or let it learn on train rows."),
        ("train", "both", "it has answered no unlabelled rows. Let the run answer them first, or let it learn on train rows."),
        ("validation", "both", "these are validation rows. Let the run answer the train and unlabelled rows first."),
    ],
)
def test_answers_must_be_to_the_rows_that_are_learned_on(problems, version, answered, split, learns_on, words):
    with_unlabelled(version)

    found = problems(Teacher(evaluation=answered(split=split)), learns_on=learns_on)

    assert [words in sentence for sentence in found] == ([True] if words else [])


def test_a_run_that_has_answered_both_kinds_of_rows_teaches_on_both(problems, version, answered):
    with_unlabelled(version)
    chosen = answered(split="unlabelled")
    factories.make_evaluation(chosen.run, split="train", attempt=chosen.attempt, summary={"n": 4}, completed_at=chosen.created_at)

    assert problems(Teacher(evaluation=chosen), learns_on="both") == []


def test_a_student_hears_what_had_been_answered_when_it_was_launched(workspace, answered):
    chosen = answered(split="unlabelled", summary={"n": 9})
    beside = {"split": "train", "attempt": chosen.attempt}
    heard = factories.make_evaluation(chosen.run, **beside, summary={"n": 3}, completed_at=chosen.created_at)
    experiment = factories.make_experiment(workspace, name="Smaller", dataset_version=chosen.dataset_version)
    student = factories.make_approach(experiment, teacher_evaluation=chosen, teaching={"learns_on": "both"})
    factories.make_evaluation(chosen.run, **beside, repetition=1, summary={"n": 4}, completed_at=student.created_at + timedelta(hours=1))

    assert answers_heard(student) == [heard, chosen]


def test_a_student_of_unlabelled_rows_needs_no_train_rows(workspace, problems, version, few_shot):
    with_unlabelled(version)
    version.split_counts["train"] = 0
    version.save()

    assert problems(Teacher(version=few_shot), learns_on="unlabelled") == []
    assert any("has no train rows" in sentence for sentence in problems(Teacher(version=few_shot), learns_on="both"))


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

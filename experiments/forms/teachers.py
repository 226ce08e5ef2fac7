"""The choice of a teacher on the comparison form: prompts with examples, and answers that runs have given to teach. Stores nothing."""

from collections.abc import Iterable
from uuid import UUID

from django import forms

from experiments.catalogue.kinds import RecipeKind
from experiments.catalogue.recipes import CATALOGUE
from experiments.models import Evaluation, TemplateVersion, Workspace
from experiments.planning.teachers import PROMPT, TERMS_WARNING, Teacher, teaching_answers
from experiments.wording import counted

TAUGHT = [kind for kind in CATALOGUE.values() if kind.taught]
MOST = 200
Choices = list[tuple[str, str]]


def teacher_field_name(kind: RecipeKind) -> str:
    return f"{kind.key}-teacher"


def teacher_field(workspace: Workspace, prompts: Iterable[TemplateVersion]) -> forms.Field:
    """A choice among teachers, by where they answer."""
    given = [Teacher(evaluation=evaluation) for evaluation in teaching_answers(workspace)[:MOST]]
    groups: list[tuple[str, Choices]] = [
        ("A prompt on the same model", [(Teacher(version=prompt).key, _prompt_words(prompt)) for prompt in prompts]),
        ("Answers of another run", [_answers_choice(teacher) for teacher in given if not teacher.is_hosted]),
        ("Answers of a hosted model", [_answers_choice(teacher) for teacher in given if teacher.is_hosted]),
    ]
    return forms.ChoiceField(
        required=False,
        label="Teacher",
        choices=[("", "The chosen prompt with the most examples"), *((title, rows) for title, rows in groups if rows)],
        help_text="A larger or a hosted model teaches by answers that it has given: open its run and let it answer train or "
        "unlabelled rows. Where both kinds are learned on, the run has answered both. " + TERMS_WARNING,
    )


def chosen_teacher(value: str) -> Teacher | None:
    """The teacher that a value of the field names; None for the default."""
    kind, _, key = value.partition(":")
    if not key:
        return None
    if kind == PROMPT:
        return Teacher(version=TemplateVersion.objects.select_related("template").get(pk=UUID(key)))
    related = ("run__approach__experiment", "run__approach__backbone", "dataset_version__dataset")
    return Teacher(evaluation=Evaluation.objects.select_related(*related).get(pk=UUID(key)))


def _prompt_words(prompt: TemplateVersion) -> str:
    shown = len(prompt.demonstrations)
    return f"{prompt} ({counted(shown, 'example')} shown)" if shown else str(prompt)


def _answers_choice(teacher: Teacher) -> tuple[str, str]:
    assert teacher.evaluation is not None, "answers are an evaluation"
    rows = counted(teacher.evaluation.summary.get("n") or 0, f"{teacher.evaluation.split} row")
    return teacher.key, f"{teacher.name} ({rows})"

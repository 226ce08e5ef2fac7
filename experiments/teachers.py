"""Who may teach a tuned approach: a prompt on the same model, or the answers that a run has given to train rows; what stands against one.

Reads prompts and evaluations that it is given; writes nothing and knows no engine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from experiments.models import DatasetVersion, Evaluation, Split, TemplateVersion, Workspace
from experiments.models.comparisons import Family
from experiments.models.datasets import Task
from experiments.recipe_kinds import RecipeKind
from experiments.wording import quoted

DISTRIBUTION = "distribution"
PROMPT, ANSWERS = "prompt", "answers"
TERMS_WARNING = "The terms of a hosted model may forbid that another model learns from its answers. Read them first."


@dataclass(frozen=True)
class Teacher:
    """Either a prompt, which the student's own model answers, or answers that were given before, by whatever model."""

    version: TemplateVersion | None = None
    evaluation: Evaluation | None = None

    @property
    def is_hosted(self) -> bool:
        return self.evaluation is not None and self.evaluation.run.approach.family == Family.HOSTED

    @property
    def key(self) -> str:
        """The value of a form's field that names it."""
        return f"{PROMPT}:{self.version.pk}" if self.version else f"{ANSWERS}:{self.evaluation.pk if self.evaluation else ''}"

    @property
    def name(self) -> str:
        """How a teacher is told from others."""
        if self.version is not None:
            return str(self.version)
        assert self.evaluation is not None, "a teacher is a prompt or answers"
        run = self.evaluation.run
        where = f" on {run.approach.backbone.name}" if run.approach.backbone and run.approach.backbone.name not in run.approach.name else ""
        return f"{run.approach.name}{where} · seed {run.seed} · {run.approach.experiment.name}"


def teaching_answers(workspace: Workspace) -> "QuerySet[Evaluation]":
    """Answers to train rows that runs of a workspace have given, the newest first."""
    given = Evaluation.objects.filter(split=Split.TRAIN, attempt__isnull=False, run__approach__experiment__workspace=workspace)
    related = ("run__approach__experiment", "run__approach__backbone", "dataset_version__dataset")
    return given.order_by("-created_at").select_related(*related)


def default_teacher(templates: Sequence[TemplateVersion]) -> Teacher | None:
    """The chosen prompt with the most examples; None when none shows any."""
    best = max(templates, key=lambda template: len(template.demonstrations), default=None)
    return Teacher(version=best) if best and best.demonstrations else None


def teacher_problems(kind: RecipeKind, targets: object, teacher: Teacher | None, version: DatasetVersion) -> Iterator[str]:
    """What stands against this teacher, a sentence each.

    Args:
        targets: what is to be learned of it.
        version: the data of the comparison.
    """
    if teacher is None:
        if kind.taught:
            yield f"{kind.name} needs a teacher. Choose a prompt with examples, or a run that has answered the train rows."
        return
    if not kind.is_tuned:
        yield f"{kind.name} learns no part of its own, so nobody can teach it. Leave the teacher out."
        return
    if targets == DISTRIBUTION and version.task == Task.EXTRACTION:
        yield f"{kind.name}: free answers have no labels to be likely or not. Let it learn the teacher's answers instead."
    if teacher.evaluation is not None:
        yield from _answer_problems(kind, targets, teacher, teacher.evaluation, version)


def _answer_problems(kind: RecipeKind, targets: object, teacher: Teacher, evaluation: Evaluation, version: DatasetVersion) -> Iterator[str]:
    name = quoted(teacher.name)
    if evaluation.dataset_version_id != version.pk:
        yield (
            f"{kind.name} cannot learn from {name}: its answers are to rows of {evaluation.dataset_version}, whose labels may "
            f"differ, and this comparison is on {version}. Choose answers to the same data."
        )
    elif evaluation.split != Split.TRAIN:
        yield f"{kind.name} cannot learn from {name}: these are {evaluation.split} rows. Let the run answer the train rows first."
    elif evaluation.attempt_id is None:
        yield f"{kind.name} cannot learn from {name} yet: it has not answered all the train rows. Wait, or choose another teacher."
    elif targets == DISTRIBUTION and (reason := _silence(evaluation)):
        yield f"{kind.name} cannot learn how likely {name} finds each label: {reason}. Let it learn the teacher's answers instead."


def _silence(evaluation: Evaluation) -> str:
    """Why answers say nothing about the labels that were not chosen; empty when they do."""
    endpoint, approach = evaluation.summary.get("endpoint"), evaluation.run.approach
    if endpoint:
        told = (endpoint.get("read_by") or {}).get("log-probabilities", 0)
        return "" if told else "its endpoint tells no log-probabilities"
    if approach.method == "label_bias" or approach.recipe.get("score", "sum") != "sum":
        return "its labels are chosen by more than their log-likelihoods"
    return ""

"""Who may teach a tuned approach: a prompt on the same model, or answers that a run has given; on which rows; what stands against it.

Reads prompts and evaluations that it is given; writes nothing and knows no engine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from experiments.catalogue.kinds import RecipeKind
from experiments.models import Approach, DatasetVersion, Evaluation, Split, TemplateVersion, Workspace
from experiments.models.comparisons import Family
from experiments.models.datasets import Task
from experiments.wording import listed, quoted

DISTRIBUTION = "distribution"
PROMPT, ANSWERS = "prompt", "answers"
# Rows that a teacher may answer to teach: never those that choices and figures rest on.
TEACHABLE = (Split.TRAIN, Split.UNLABELLED)
BOTH = "both"
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


def taught_splits(learns_on: object) -> tuple[Split, ...]:
    """The splits whose rows a student learns on; train rows unless told."""
    if learns_on == BOTH:
        return TEACHABLE
    return (Split.UNLABELLED,) if learns_on == Split.UNLABELLED else (Split.TRAIN,)


def teaching_answers(workspace: Workspace) -> "QuerySet[Evaluation]":
    """Answers to train and unlabelled rows that runs of a workspace have given, the newest first."""
    given = Evaluation.objects.filter(split__in=TEACHABLE, attempt__isnull=False, run__approach__experiment__workspace=workspace)
    related = ("run__approach__experiment", "run__approach__backbone", "dataset_version__dataset")
    return given.order_by("-created_at").select_related(*related)


def answers_to(evaluation: Evaluation, split: Split, *, before: datetime | None = None) -> Evaluation | None:
    """What the run that gave some answers has answered to rows of one of the splits; of several, the most answers.

    Args:
        before: answers given later are not counted, so that all seeds of an approach hear the same.
    """
    if evaluation.split == split:
        return evaluation
    same = {"run": evaluation.run_id, "dataset_version": evaluation.dataset_version_id, "suite": "plain"}
    given = Evaluation.objects.filter(**same, split=split, attempt__isnull=False)
    if before is not None:
        given = given.filter(completed_at__lte=before)
    return max(given, key=lambda each: each.summary.get("n") or 0, default=None)


def answers_heard(approach: Approach) -> list[Evaluation]:
    """The answers that teach an approach, for each split that it learns on; none where a prompt teaches it."""
    chosen = approach.teacher_evaluation
    if chosen is None:
        return []
    found = [answers_to(chosen, split, before=approach.created_at) for split in taught_splits(approach.teaching.get("learns_on"))]
    return [each for each in found if each is not None]


def default_teacher(templates: Sequence[TemplateVersion]) -> Teacher | None:
    """The chosen prompt with the most examples; None when none shows any."""
    best = max(templates, key=lambda template: len(template.demonstrations), default=None)
    return Teacher(version=best) if best and best.demonstrations else None


def teacher_problems(kind: RecipeKind, teaching: Mapping[str, object], teacher: Teacher | None, version: DatasetVersion) -> Iterator[str]:
    """What stands against this teacher, a sentence each.

    Args:
        teaching: what is to be learned of it, and on which rows.
        version: the data of the comparison.
    """
    if teacher is None:
        if kind.taught:
            yield f"{kind.name} needs a teacher. Choose a prompt with examples, or a run that has answered {_rows_words(teaching)}."
        return
    if not kind.is_tuned:
        yield f"{kind.name} learns no part of its own, so nobody can teach it. Leave the teacher out."
        return
    if Split.UNLABELLED in taught_splits(teaching["learns_on"]) and not version.split_counts.get(Split.UNLABELLED):
        yield (
            f"{kind.name} is to learn on unlabelled rows, but {version} has none. Let it learn on train rows, or upload the data with rows "
            "that have no label and keep them."
        )
        return
    if teaching["targets"] == DISTRIBUTION and version.task == Task.EXTRACTION:
        yield f"{kind.name}: free answers have no labels to be likely or not. Let it learn the teacher's answers instead."
    if teacher.evaluation is not None:
        yield from _answer_problems(kind, teaching, teacher, teacher.evaluation, version)


def _rows_words(teaching: Mapping[str, object]) -> str:
    return f"the {listed(taught_splits(teaching['learns_on']))} rows"


def _answer_problems(
    kind: RecipeKind, teaching: Mapping[str, object], teacher: Teacher, evaluation: Evaluation, version: DatasetVersion
) -> Iterator[str]:
    name, splits = quoted(teacher.name), taught_splits(teaching["learns_on"])
    heard = {split: answers_to(evaluation, split) for split in splits}
    if evaluation.dataset_version_id != version.pk:
        yield (
            f"{kind.name} cannot learn from {name}: its answers are to rows of {evaluation.dataset_version}, whose labels may "
            f"differ, and this comparison is on {version}. Choose answers to the same data."
        )
    elif evaluation.split not in splits:
        otherwise = f", or let it learn on {evaluation.split} rows" if evaluation.split in TEACHABLE else ""
        yield (
            f"{kind.name} cannot learn from {name}: these are {evaluation.split} rows. Let the run answer {_rows_words(teaching)} first"
            f"{otherwise}."
        )
    elif evaluation.attempt_id is None:
        yield (
            f"{kind.name} cannot learn from {name} yet: it has not answered all the {evaluation.split} rows. "
            "Wait, or choose another teacher."
        )
    elif missing := [split for split, answers in heard.items() if answers is None]:
        yield (
            f"{kind.name} cannot learn on both kinds of rows from {name}: it has answered no {listed(missing)} rows. Let the run answer "
            f"them first, or let it learn on {evaluation.split} rows."
        )
    elif teaching["targets"] == DISTRIBUTION and (reason := next(filter(None, map(_silence, heard.values())), "")):
        yield f"{kind.name} cannot learn how likely {name} finds each label: {reason}. Let it learn the teacher's answers instead."


def _silence(evaluation: Evaluation | None) -> str:
    """Why answers say nothing about the labels that were not chosen; empty when they do."""
    if evaluation is None:
        return ""
    endpoint, approach = evaluation.summary.get("endpoint"), evaluation.run.approach
    if endpoint:
        told = (endpoint.get("read_by") or {}).get("log-probabilities", 0)
        return "" if told else "its endpoint tells no log-probabilities"
    if approach.method == "label_bias" or approach.recipe.get("score", "sum") != "sum":
        return "its labels are chosen by more than their log-likelihoods"
    return ""

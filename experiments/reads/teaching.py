"""What a teacher was to the approaches it taught: how far they agree, what it cost, and what its run can be asked for. Reads only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.economics import TokenUse
from experiments.models import Approach, Evaluation, JobState, Run
from experiments.models.comparisons import Family
from experiments.planning.teachers import TEACHABLE, TERMS_WARNING, Teacher, answers_heard
from experiments.presence import job_health


@dataclass(frozen=True)
class TeachingCost:
    """What asking a teacher took, once for all seeds: device seconds, and tokens that a hosted one billed."""

    seconds: float = 0.0
    hosted: TokenUse | None = None


def teacher_of(approach: Approach) -> Teacher | None:
    """Who taught an approach; None when it learned from the rows' labels."""
    if approach.teacher_version is None and approach.teacher_evaluation is None:
        return None
    return Teacher(approach.teacher_version, approach.teacher_evaluation)


def agreement_of(result: Mapping[str, Any]) -> dict[str, int] | None:
    """Of the validation rows that the teacher answered, how many the student answers as it does; None where nobody taught."""
    found = result.get("distillation") or {}
    return {"agreed": found["agreed"], "rows": found["checked_rows"]} if found.get("checked_rows") else None


def teaching_cost(approach: Approach, runs: Iterable[Run]) -> TeachingCost:
    """What the teacher of an approach cost: its answers, and its own training where it had one."""
    chosen, heard = approach.teacher_evaluation, answers_heard(approach)
    if chosen is None:
        asked = [float((run.result.get("distillation") or {}).get("teacher_seconds") or 0) for run in runs]
        return TeachingCost(max(asked, default=0.0))
    teacher = chosen.run
    if teacher.approach.family == Family.HOSTED:
        return TeachingCost(hosted=TokenUse(_tokens(heard, "input"), _tokens(heard, "output")))
    training = teacher.result.get("training") or {}
    made = float(training.get("train_seconds") or 0) + float(training.get("evaluation_seconds") or 0)
    return TeachingCost(made + sum(float(evaluation.summary.get("seconds") or 0) for evaluation in heard))


def _tokens(heard: Iterable[Evaluation], kind: str) -> float | None:
    """All tokens of a kind that a hosted teacher billed for its answers; None where the endpoint did not tell."""
    total = 0.0
    for evaluation in heard:
        billed = ((evaluation.summary.get("endpoint") or {}).get("billed") or {}).get(kind)
        if billed is None:
            return None
        total += billed * (int(evaluation.summary.get("n") or 0) - int(evaluation.summary.get("errors") or 0))
    return total


@dataclass(frozen=True)
class TeachingView:
    """What the page of a run says about teaching.

    Args:
        teacher: who taught this run.
        record: the engine's record of it.
        answers: the run's own answers to train and unlabelled rows, the newest first.
        rows: how many rows it can be asked about, by split; without those that there are none of.
        may_teach: whether it can be asked for more.
        is_hosted: whether each answer is billed, by terms that may forbid learning from it.
    """

    teacher: Teacher | None
    record: Mapping[str, Any]
    answers: tuple[Evaluation, ...]
    rows: Mapping[str, int]
    may_teach: bool
    is_hosted: bool
    terms: str = TERMS_WARNING

    @property
    def going_on(self) -> Evaluation | None:
        """The answers that are being given now."""
        return next((answers for answers in self.answers if not answers.job.has_ended), None)

    @property
    def going_on_words(self) -> str:
        return f"Answering {self.going_on.split} rows" if self.going_on else ""

    @property
    def health(self) -> str | None:
        """A sentence when no worker is there to answer."""
        return job_health(self.going_on.job) if self.going_on else None


def teaching_view(run: Run) -> TeachingView:
    """The teaching of a run, given and taken."""
    approach, version = run.approach, run.approach.experiment.dataset_version
    rows = {split.value: version.split_counts[split] for split in TEACHABLE if version.split_counts.get(split)}
    has_succeeded = run.job.state == JobState.SUCCEEDED
    return TeachingView(
        teacher=teacher_of(approach),
        record=run.result.get("distillation") or {},
        answers=tuple(run.evaluations.filter(split__in=TEACHABLE).select_related("job").order_by("-created_at")),
        rows=rows,
        may_teach=has_succeeded and approach.family != Family.BASELINE and bool(rows),
        is_hosted=approach.family == Family.HOSTED,
    )

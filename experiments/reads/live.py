"""How far a comparison is: each run with its job, what waits, what failed, and whether tables have come. Reads only; a few queries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from experiments.catalogue.kinds import ink_of, shape_of
from experiments.models import ComparisonTable, Evaluation, Experiment, Job, JobKind, JobState, Queue, Run, Split, TestOpening
from experiments.models.comparisons import Family
from experiments.presence import queues_health
from experiments.reads.curve_charts import Curve
from experiments.services.experiment_jobs import compare_key
from experiments.services.latency import latency_key
from experiments.wording import counted, lasting

CURVE_FIELDS = (
    *("approach__position", "seed", "approach__recipe__max_steps", "result__training__curve", "result__training__losses"),
    *("job__progress__curve", "job__progress__losses", "approach__recipe__validation_rows"),
)
UNHAPPY = (JobState.FAILED, JobState.QUARANTINED)


@dataclass(frozen=True)
class RunLine:
    """One run with its job, and its test evaluation's job once the test set is open."""

    run: Run
    job: Job
    test_job: Job | None

    @property
    def current(self) -> Job:
        """The job that tells the line's state: the test evaluation's once it exists."""
        return self.test_job or self.job

    @property
    def can_retry(self) -> bool:
        return self.job.state in UNHAPPY or (self.test_job is not None and self.test_job.state in UNHAPPY)

    @property
    def can_go_on(self) -> bool:
        """Somebody stopped it or its scoring of the test rows; it starts again where it was."""
        return self.current.state == JobState.CANCELLED or self.job.state == JobState.CANCELLED

    @property
    def can_cancel(self) -> bool:
        """It goes on, and nobody has asked it to stop; the scoring of test rows stops with the comparison."""
        return _may_stop(self.job)

    @property
    def sentence(self) -> str:
        """Why it failed, or what it is doing."""
        if self.current.state in UNHAPPY:
            return self.current.error or "It ended without saying why."
        return progress_sentence(self.current)

    @property
    def share(self) -> tuple[int, int] | None:
        return share_of(self.current)


def _may_stop(job: Job | None) -> bool:
    return job is not None and not job.has_ended and job.cancel_requested_at is None


def share_of(job: Job) -> tuple[int, int] | None:
    """(done, of) in the unit of the phase, while the job goes on and says so."""
    progress = job.progress if job.state == JobState.RUNNING else {}
    phases = {"step": ("training", "searching", "trying"), "rows": ("scoring", "loading", "teaching", "timing")}
    for done, total in (("step", "steps"), ("rows", "rows_total")):
        if progress.get("phase") in phases[done] and progress.get(total):
            return int(progress.get(done) or 0), int(progress[total])
    return None


def progress_sentence(job: Job) -> str:
    """The last sign of life as words, such as "training, step 120 of 250"; empty when there is none."""
    progress = job.progress if job.state == JobState.RUNNING else {}
    phase = progress.get("phase", "")
    if phase == "training" and progress.get("steps"):
        done = f"training, step {progress.get('step') or 0:,} of {progress['steps']:,}"
        return done + _measured(progress) + _left(progress)
    if phase == "searching" and progress.get("steps"):
        best = (progress.get("metrics") or {}).get("validation_accuracy")
        so_far = "" if best is None else f", best so far {best:.1%}"
        return f"searching, {progress.get('step') or 0:,} of {progress['steps']:,} evaluations{so_far}"
    if phase == "teaching" and progress.get("rows_total"):
        return f"asking the teacher, row {progress.get('rows') or 0:,} of {progress['rows_total']:,}"
    if phase == "trying" and progress.get("steps"):
        tried = f"trying configurations, step {progress.get('step') or 0:,} of at most {progress['steps']:,} in all"
        return f"{tried}{_measured(progress.get('metrics') or {})}"
    if phase == "scoring" and progress.get("rows_total"):
        return f"scoring, row {progress.get('rows') or 0:,} of {progress['rows_total']:,}"
    if phase == "timing" and progress.get("rows_total"):
        return f"timing, request {progress.get('rows') or 0:,} of {progress['rows_total']:,}"
    return str(phase)


def _measured(progress: Mapping[str, Any]) -> str:
    """The last loss and the last look at the rows that choose the step, where there were any; a look is often older than the loss."""
    metrics = progress.get("metrics") or {}
    said = [f"loss {metrics['train_loss']:.3f}"] if metrics.get("train_loss") is not None else []
    for field, rows in (("validation_accuracy", "validation rows"), ("inner_accuracy", "train rows set aside")):
        if metrics.get(field) is not None:
            said.append(f"{metrics[field]:.1%} right on {rows}{_looked_at(progress, field)}")
    return "".join(f", {part}" for part in said)


def _looked_at(progress: Mapping[str, Any], field: str) -> str:
    """The step of the last look, where the curve knows it."""
    steps = [point["step"] for point in progress.get("curve") or [] if point.get(field) is not None]
    return f" (at step {steps[-1]:,})" if steps else ""


def _left(progress: Mapping[str, Any]) -> str:
    """How long the training steps that are left take at the speed of those that were made; it may stop earlier."""
    last = (progress.get("curve") or [{}])[-1]
    if not last.get("step") or not last.get("seconds"):
        return ""
    seconds = (progress["steps"] - (progress.get("step") or 0)) * last["seconds"] / last["step"]
    return f", at most about {lasting(seconds)} of training left" if seconds > 0 else ""


@dataclass(frozen=True)
class Stage:
    """What a comparison does now, as words over a bar; without a share, the bar only moves."""

    words: str
    share: tuple[int, int] | None


@dataclass(frozen=True)
class LiveState:
    """What the polled part of the page shows.

    Args:
        stamp: changes when a table was stored or the comparison ended; the page loads itself anew then.
        health: a sentence for each kind of worker that is needed and absent.
        compare_problem: which results could not be computed, and why.
        latency_job: the latest latency pass.
        num_ahead: jobs of other comparisons that the same workers do first, while nothing of this one has its turn.
    """

    lines: tuple[RunLine, ...]
    opening: TestOpening | None
    stamp: str
    health: tuple[str, ...]
    compare_problem: str
    going_on: bool
    comparing: bool
    num_tables: int
    latency_job: Job | None
    num_ahead: int

    @property
    def num_ended(self) -> int:
        return sum(1 for line in self.lines if line.current.has_ended)

    @property
    def num_unhappy(self) -> int:
        return sum(1 for line in self.lines if line.can_retry)

    @property
    def can_cancel(self) -> bool:
        """Something goes on that nobody has asked to stop."""
        return _may_stop(self.latency_job) or any(_may_stop(line.current) for line in self.lines)

    @property
    def num_stopped(self) -> int:
        return sum(1 for line in self.lines if line.can_go_on)

    @property
    def under_way(self) -> frozenset[str]:
        """Names of the approaches that have a run which waits or runs: a table that stands already will be computed anew."""
        return frozenset(line.run.approach.name for line in self.lines if not line.current.has_ended)

    @property
    def asks_hosted_models(self) -> bool:
        return any(line.run.approach.family == Family.HOSTED for line in self.lines)

    @property
    def is_training(self) -> bool:
        """Whether curves are drawn while they grow: runs go on, and no table with its own curves stands on the page."""
        return self.num_tables == 0 and not self.all_runs_ended

    @property
    def measuring(self) -> str:
        """What a latency pass that has not ended is doing; empty when there is none."""
        job = self.latency_job
        return "" if job is None or job.has_ended else progress_sentence(job) or "waiting for its turn"

    @property
    def stage(self) -> Stage:
        """What goes on: first the runs, then what is made of their answers."""
        if self.num_ended < len(self.lines):
            done = "scored on the test rows" if self.opening else "ended"
            return Stage(f"{self.num_ended} of {counted(len(self.lines), 'run')} {done}", (self.num_ended, len(self.lines)))
        if self.comparing or self.latency_job is None:
            return Stage("Computing intervals and differences", None)
        return Stage(f"Measuring latency: {self.measuring}", share_of(self.latency_job))

    @property
    def latency_problem(self) -> str:
        """Why the latest latency pass gave nothing."""
        job = self.latency_job
        return (job.error or "It ended without saying why.") if job and job.state in UNHAPPY else ""

    @property
    def all_runs_ended(self) -> bool:
        return bool(self.lines) and all(line.job.has_ended for line in self.lines)


def live_state(experiment: Experiment) -> LiveState:
    """The state of a comparison; the number of queries does not grow with it."""
    compares, latencies = _keyed_jobs(experiment)
    latency_job = latencies[0] if latencies else None
    lines = _lines(experiment)
    open_jobs = [line.current for line in lines if not line.current.has_ended]
    open_jobs += [latency_job] if latency_job and not latency_job.has_ended else []
    comparing = any(not job.has_ended for job in compares)
    queues = {job.queue for job in open_jobs if job.state == JobState.QUEUED} | ({Queue.IO.value} if comparing else set())
    stored = list(ComparisonTable.objects.filter(experiment=experiment).order_by("split").values_list("split", "computed_at"))
    return LiveState(
        lines=lines,
        opening=TestOpening.objects.filter(experiment=experiment).select_related("opened_by").first(),
        stamp="-".join(f"{split[0]}{at.timestamp():.6f}" for split, at in stored) + ("-end" if experiment.finished_at else ""),
        health=tuple(queues_health(queues)),
        compare_problem=_compare_problem(compares),
        going_on=bool(open_jobs) or comparing,
        comparing=comparing,
        num_tables=len(stored),
        latency_job=latency_job,
        num_ahead=_num_ahead(open_jobs),
    )


def _num_ahead(jobs: list[Job]) -> int:
    """How many jobs were queued for the same workers before the first of these, as long as none of these has begun."""
    if not jobs or any(job.state != JobState.QUEUED for job in jobs):
        return 0
    first = min(jobs, key=lambda job: job.created_at)
    waiting = [JobState.QUEUED, JobState.RUNNING]
    return Job.objects.filter(queue=first.queue, state__in=waiting, created_at__lt=first.created_at).count()


def _lines(experiment: Experiment) -> tuple[RunLine, ...]:
    tests = Evaluation.objects.filter(run__approach__experiment=experiment, split=Split.TEST).select_related("job").defer("summary")
    test_jobs = {evaluation.run_id: evaluation.job for evaluation in tests}
    runs = Run.objects.filter(approach__experiment=experiment).select_related("approach", "job").defer("result", "approach__recipe")
    return tuple(RunLine(run, run.job, test_jobs.get(run.pk)) for run in runs)


def compare_problem(experiment: Experiment) -> str:
    """Which results of a comparison could not be computed, and why; empty when none failed."""
    return _compare_problem(_keyed_jobs(experiment)[0])


def _keyed_jobs(experiment: Experiment) -> tuple[list[Job], list[Job]]:
    """Comparisons and latency passes, newest first."""
    keyed = Q(idempotency_key__startswith=compare_key(experiment)) | Q(idempotency_key__startswith=latency_key(experiment))
    jobs = list(Job.objects.filter(keyed, workspace=experiment.workspace_id).order_by("-created_at"))
    return [job for job in jobs if job.kind == JobKind.COMPARE], [job for job in jobs if job.kind == JobKind.LATENCY]


def _compare_problem(compares: list[Job]) -> str:
    """A sentence for each split whose latest comparison failed: a later one of the other split says nothing about it."""
    latest: dict[str, Job] = {}
    for job in compares:
        latest.setdefault(job.payload.get("split", Split.VALIDATION), job)
    failed = [(split, job) for split, job in latest.items() if job.state in UNHAPPY]
    return " ".join(f"The results on the {split} rows could not be computed. {job.error}".strip() for split, job in sorted(failed))


def curves_of(experiment: Experiment, *, run: Run | None = None) -> list[Curve]:
    """The training curves of a comparison's runs, or of one run; one query that leaves everything else of the records behind.

    A run that has ended is drawn from its record, one that goes on from its worker's last message.
    """
    runs = Run.objects.filter(pk=run.pk) if run else Run.objects.filter(approach__experiment=experiment)
    found = runs.filter(approach__family__in=["tuned", "hybrid"]).values_list("approach__name", *CURVE_FIELDS)
    curves = []
    num_rows = experiment.dataset_version.split_counts.get(Split.VALIDATION, 0)
    for name, position, seed, steps, points, losses, live_points, live_losses, rows in found:
        # The record of an ended run counts whole: where it has no losses, those of the last message would belong to other points.
        looks, stretches = (points, losses) if points else (live_points, live_losses)
        looks_at = rows if rows and rows < num_rows else 0
        ink, shape = ink_of(position), shape_of(position)
        curves.append(Curve(name, ink, shape, seed, tuple(looks or ()), tuple(stretches or ()), steps or 0, looks_at))
    return curves

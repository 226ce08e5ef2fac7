"""What the overview of a workspace shows: the steps to the first answer, recent comparisons, work in progress. Reads only."""

from dataclasses import dataclass

from django.db.models import Count, QuerySet

from experiments.models import DatasetVersion, Experiment, Job, JobState, TemplateVersion, Workspace
from experiments.services.jobs import queue_health

NUM_RECENT = 6
# Title, text, name of the address that begins it, words of the link.
STEPS = (
    (
        "Upload labelled data",
        "A table with a text and its label in each row. A few hundred rows are enough.",
        "dataset-create",
        "Upload data",
    ),
    (
        "Write a prompt",
        "Say in your own words what the model should do, and see it filled with your rows.",
        "prompt-create",
        "Write a prompt",
    ),
    (
        "Compare",
        "Your prompt, tuned prompts and plain baselines on the same rows, with costs.",
        "comparison-create",
        "Set up a comparison",
    ),
)


@dataclass(frozen=True)
class Step:
    """One of the three steps: what it is, whether it is done, and whether it is the one to do next."""

    title: str
    text: str
    link_name: str
    link_label: str
    done: bool
    next: bool


@dataclass(frozen=True)
class Work:
    """A job that goes on, and what it is for: an approach, a file, a model; empty when its kind says it all."""

    job: Job
    subject: str


@dataclass(frozen=True)
class Overview:
    """Everything on the overview page. `health` holds a sentence for each kind of worker that is waited for in vain."""

    steps: tuple[Step, ...]
    experiments: tuple[Experiment, ...]
    work: tuple[Work, ...]
    num_waiting: int
    health: tuple[str, ...]

    @property
    def finished_steps(self) -> bool:
        return all(step.done for step in self.steps)


def overview_of(workspace: Workspace) -> Overview:
    """Read the overview; the number of queries does not grow with the workspace."""
    alive = Job.objects.filter(workspace=workspace, state__in=[JobState.QUEUED, JobState.RUNNING])
    recent = (
        workspace.experiments.select_related("dataset_version__dataset", "created_by")
        .annotate(num_approaches=Count("approaches"))
        .order_by("-created_at")
    )
    waiting_for = alive.order_by("queue").values_list("queue", flat=True).distinct()
    return Overview(
        steps=_steps(workspace),
        experiments=tuple(recent[:NUM_RECENT]),
        work=tuple(Work(job, _subject(job)) for job in _with_subjects(alive).order_by("-state", "created_at")[:NUM_RECENT]),
        num_waiting=alive.count(),
        health=tuple(sentence for queue in waiting_for if (sentence := queue_health(queue))),
    )


def _with_subjects(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """The jobs with the nouns that they serve, in a fixed number of queries."""
    return jobs.select_related("run__approach").prefetch_related("evaluations__run__approach", "dataset_versions__dataset", "backbones")


def _subject(job: Job) -> str:
    if hasattr(job, "run"):
        return str(job.run)
    served = [evaluation.run for evaluation in job.evaluations.all()]
    return ", ".join(str(noun) for noun in (*served, *job.dataset_versions.all(), *job.backbones.all()))


def _steps(workspace: Workspace) -> tuple[Step, ...]:
    done = [
        DatasetVersion.objects.complete().filter(dataset__workspace=workspace).exists(),
        TemplateVersion.objects.filter(template__workspace=workspace).exists(),
        workspace.experiments.filter(launched_at__isnull=False).exists(),
    ]
    following = done.index(False) if False in done else None
    return tuple(
        Step(*text, done=is_done, next=number == following) for number, (text, is_done) in enumerate(zip(STEPS, done, strict=True))
    )

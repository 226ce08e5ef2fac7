"""What the overview of a workspace shows: the steps to the first answer, recent comparisons, work in progress. Reads only."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from experiments.models import DatasetVersion, Experiment, Job, JobState, TemplateVersion, Workspace
from experiments.models.base import Noun
from experiments.presence import queues_health
from experiments.reads.comparison_rows import comparison_rows

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
    """A job that goes on, and what it is for: a run, a file, a model; empty when its kind says it all.

    Args:
        page: name of the address where the subject stands; empty without a subject.
        noun: id of the subject at that address.
    """

    job: Job
    subject: str = ""
    page: str = ""
    noun: UUID | None = None


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
    return Overview(
        steps=_steps(workspace),
        experiments=tuple(comparison_rows(workspace)[:NUM_RECENT]),
        work=tuple(_work(job) for job in _with_subjects(alive).order_by("-state", "created_at")[:NUM_RECENT]),
        num_waiting=alive.count(),
        health=tuple(queues_health(alive.order_by("queue").values_list("queue", flat=True).distinct())),
    )


def _with_subjects(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """The jobs with the nouns that they serve, in a fixed number of queries."""
    return jobs.select_related("run__approach__experiment").prefetch_related(
        "evaluations__run__approach__experiment", "dataset_versions__dataset", "backbones"
    )


def _work(job: Job) -> Work:
    runs = [job.run] if hasattr(job, "run") else [evaluation.run for evaluation in job.evaluations.all()]
    served: list[tuple[str, Noun, str]] = [("run-detail", run, f"{run.approach.experiment}: {run}") for run in runs]
    served += [("dataset-version-detail", version, str(version)) for version in job.dataset_versions.all()]
    served += [("backbone-detail", backbone, str(backbone)) for backbone in job.backbones.all()]
    page, noun, subject = served[0] if served else ("", None, "")
    return Work(job, subject, page, noun.pk if noun else None)


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

"""What follows when a job ends, whoever ended it: the worker, a person, or the sweep. Runs inside the transaction of the ending."""

from uuid import UUID

from experiments.models import Backbone, DatasetVersion, Experiment, Job, JobKind, JobState
from experiments.services.advances import experiment_advance
from experiments.services.learning_curves import learning_curve_follow

UNHAPPY = [JobState.FAILED, JobState.QUARANTINED]
OF_EXPERIMENTS = [JobKind.RUN, JobKind.EVALUATE, JobKind.COMPARE, JobKind.LATENCY]


def experiment_lock(*, job_id: UUID, kind: str) -> None:
    """Lock the experiment that a job belongs to. Whoever may end a job does this first.

    Two runs that end at the same moment must not both believe that the other still runs, and everybody has to lock
    the experiment before its jobs, or two of them would wait for each other.
    """
    experiment_id = _experiment_id(job_id, kind)
    if experiment_id:
        Experiment.objects.select_for_update().filter(pk=experiment_id).first()


def job_ended(*, job: Job) -> None:
    """Tell the noun that the job served: its experiment may move on, or its problem is written where pages look for it."""
    if job.kind in OF_EXPERIMENTS:
        _experiment_move_on(job)
    elif job.state in UNHAPPY and job.kind in (JobKind.PARSE, JobKind.IMPORT):
        DatasetVersion.objects.filter(job=job).update(problem=job.error)
    elif job.state in UNHAPPY and job.kind == JobKind.INSPECT:
        Backbone.objects.filter(job=job).update(problem=job.error)


def _experiment_move_on(job: Job) -> None:
    experiment_id = _experiment_id(job.pk, job.kind)
    if experiment_id:
        experiment_advance(experiment=Experiment.objects.get(pk=experiment_id))
        learning_curve_follow(experiment=Experiment.objects.get(pk=experiment_id))


def _experiment_id(job_id: UUID, kind: str) -> UUID | None:
    if kind == JobKind.RUN:
        return Experiment.objects.filter(approaches__runs__job=job_id).values_list("pk", flat=True).first()
    if kind == JobKind.EVALUATE:
        return Experiment.objects.filter(approaches__runs__evaluations__job=job_id).values_list("pk", flat=True).first()
    if kind in (JobKind.COMPARE, JobKind.LATENCY):
        payload: dict[str, str] = Job.objects.values_list("payload", flat=True).get(pk=job_id)
        return UUID(payload["experiment"])
    return None

"""Which jobs and runs belong to a comparison, and the lock under which they are counted. Changes nothing."""

from django.db.models import Q, QuerySet

from experiments.models import Approach, Evaluation, Experiment, Job, JobKind, JobState, Queue, Run
from experiments.models.comparisons import Family
from experiments.services.latency import latency_key

RUN_JOBS = Q(kind=JobKind.RUN)
EVALUATE_JOBS = Q(kind=JobKind.EVALUATE)
LATENCY_JOBS = Q(kind=JobKind.LATENCY)


def experiment_jobs(experiment: Experiment) -> "QuerySet[Job]":
    """Every job of a comparison: runs, evaluations, comparisons and latency passes."""
    runs, evaluations = runs_of(experiment), Evaluation.objects.filter(run__approach__experiment=experiment)
    keyed = Q(idempotency_key__startswith=compare_key(experiment)) | Q(idempotency_key__startswith=latency_key(experiment))
    return Job.objects.filter(
        Q(pk__in=runs.values("job")) | Q(pk__in=evaluations.values("job")) | keyed & Q(workspace=experiment.workspace_id)
    )


def open_jobs(experiment: Experiment, kinds: Q | None = None) -> "QuerySet[Job]":
    """Those that have not ended."""
    return experiment_jobs(experiment).filter(kinds or Q()).exclude(state__in=JobState.terminal())


def runs_of(experiment: Experiment) -> "QuerySet[Run]":
    """Every run of a comparison."""
    return Run.objects.filter(approach__experiment=experiment)


def experiment_locked(experiment: Experiment) -> Experiment:
    """The comparison as it is now, locked until the transaction ends."""
    return Experiment.objects.select_for_update(of=("self",)).select_related("workspace", "dataset_version__dataset").get(pk=experiment.pk)


def compare_key(experiment: Experiment) -> str:
    """What the idempotency keys of all comparison jobs of an experiment begin with."""
    return f"compare:{experiment.pk}"


def queue_of(approach: Approach) -> Queue:
    """Calls of an endpoint need no accelerator, only patience."""
    return Queue.HOSTED if approach.family == Family.HOSTED else Queue.GPU

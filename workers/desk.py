"""Work of the io queue: services do it in this process while a thread keeps the lease. Loads no model."""

from collections.abc import Callable
from functools import partial

from django.conf import settings
from django.db import transaction

from experiments.models import DatasetVersion, Experiment, Job, JobKind, JobState
from experiments.reads.learning_curves import build_learning_curve
from experiments.reads.reports import build_table
from experiments.services.datasets import dataset_version_read, dataset_version_store
from experiments.services.experiments import comparison_store
from experiments.services.learning_curves import learning_curve_store
from experiments.services.leases import Lease, lease_finish, lease_renew
from workers.watch import lease_kept_by_thread


def desk_perform(lease: Lease) -> None:
    """Do an io job and end it.

    Raises:
        UserError: what the person asked for cannot be done.
        LeaseLost: somebody else has the job.
    """
    DESK[JobKind(lease.kind)](lease)


def _parse(lease: Lease) -> None:
    version = DatasetVersion.objects.get(pk=lease.payload["dataset_version"])
    with lease_kept_by_thread(lease, give_up_seconds=settings.JOB_HANG_SECONDS):
        dataset_version_read(version=version, hold=partial(lease_renew, lease=lease))
    lease_finish(lease=lease, state=JobState.SUCCEEDED)


def _import(lease: Lease) -> None:
    version = DatasetVersion.objects.get(pk=lease.payload["dataset_version"])
    with lease_kept_by_thread(lease, give_up_seconds=settings.JOB_HANG_SECONDS):
        dataset_version_store(version=version, hold=partial(lease_renew, lease=lease))
    lease_finish(lease=lease, state=JobState.SUCCEEDED)


def _compare(lease: Lease) -> None:
    """The table is computed first and stored with the job's end, so that a stale worker cannot replace a newer one."""
    experiment, split = Experiment.objects.get(pk=lease.payload["experiment"]), lease.payload["split"]
    build = partial(build_learning_curve, experiment) if experiment.curve_of_id else partial(build_table, experiment, split)
    with lease_kept_by_thread(lease, give_up_seconds=settings.JOB_HANG_SECONDS):
        table = build()
    with transaction.atomic():
        if experiment.curve_of_id:
            learning_curve_store(curve=experiment, payload=table)
        else:
            comparison_store(experiment=experiment, split=split, payload=table, job=Job.objects.get(pk=lease.job_id))
        lease_finish(lease=lease, state=JobState.SUCCEEDED)


DESK: dict[JobKind, Callable[[Lease], None]] = {JobKind.PARSE: _parse, JobKind.IMPORT: _import, JobKind.COMPARE: _compare}

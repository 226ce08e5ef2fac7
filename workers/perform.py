"""One claimed job, from its claim to its end: on the engine host, or here for work that needs no model. Every way out is in this file."""

import traceback
import uuid
from collections.abc import Callable
from functools import cache

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from experiments.errors import UserError
from experiments.models import Job, JobState
from experiments.services.leases import Lease, LeaseLost, lease_crash, lease_finish, lease_release
from workers.adapters import Order, hosted_backbone_of, order_of
from workers.desk import DESK, desk_perform
from workers.engine.errors import DiskFull, EngineError, is_out_of_disk
from workers.environment import host_environment
from workers.harvest import Harvest
from workers.host import EngineHost, Limits, Outcome, Slot
from workers.outcomes import outcome_save
from workers.watch import LeaseKeeper

log = structlog.get_logger(__name__)
DETAIL_CHARACTERS = 4096
TIME_SLACK_SECONDS = 60.0  # the engine keeps its own time limit; the supervisor steps in when it does not


@cache
def slot() -> Slot:
    """This process's one place for an engine host."""
    return Slot(_start_host, idle_seconds=settings.HOST_IDLE_SECONDS)


def job_perform(lease: Lease) -> None:
    """Do the job and save what comes of it. Returns in any case: whatever went wrong stands in the job's row, or its lease runs out."""
    try:
        desk_perform(lease) if lease.kind in DESK else _with_model(lease)
    except LeaseLost:
        log.warning("lease_lost")
    except (UserError, EngineError) as error:
        _fail(lease, getattr(error, "kind", "refused"), str(error), "")
    except DatabaseError as error:
        _leave_to_the_sweep(lease, error)
    except Exception as error:  # noqa: BLE001 - a fault of ours must end in the job's row, not in a dead worker
        if is_out_of_disk(error):
            _fail(lease, DiskFull.kind, str(DiskFull()), traceback.format_exc()[-DETAIL_CHARACTERS:])
        else:
            _fail_by_our_fault(lease, traceback.format_exc())


def _with_model(lease: Lease) -> None:
    job = Job.objects.get(pk=lease.job_id)
    hosted = hosted_backbone_of(job)
    if hosted is None:
        _on_host(lease, job)
        return
    from workers.hosted import hosted_perform  # brings the endpoint client, which most worker processes never need

    hosted_perform(lease, job, hosted)


def _on_host(lease: Lease, job: Job) -> None:
    order = order_of(job, fence=lease.fence)
    harvest = Harvest(lease, order)
    watch = harvest.during(LeaseKeeper(lease).watch())
    outcome = slot().execute(order.request, watch=watch, limits=_limits(order), throw_away=order.throw_away)
    harvest.try_collect()
    WAYS_OUT[outcome.kind](lease, order, outcome)


def _limits(order: Order) -> Limits:
    return Limits(
        grace_seconds=settings.JOB_CANCEL_GRACE_SECONDS,
        hang_seconds=settings.JOB_HANG_SECONDS,
        memory_bytes=settings.JOB_MEMORY_LIMIT_BYTES,
        time_seconds=order.time_limit_seconds + TIME_SLACK_SECONDS if order.time_limit_seconds else None,
    )


def _start_host() -> EngineHost:
    return EngineHost(
        settings.ENGINE_HOST_COMMAND,
        environment=host_environment(hub_allowed=settings.HF_HUB_ALLOWED),
        folder=settings.BASE_DIR,
    )


def _saved(lease: Lease, order: Order, outcome: Outcome) -> None:
    outcome_save(lease, order, outcome.message)


def _failed(lease: Lease, order: Order, outcome: Outcome) -> None:
    said = outcome.message
    if said.get("kind") == "internal":
        _fail_by_our_fault(lease, f"{said.get('message')}\n{said.get('detail')}")
    else:
        _fail(lease, str(said.get("kind", "engine_error")), str(said.get("message", "")), str(said.get("detail") or ""))


def _cancelled(lease: Lease, order: Order, outcome: Outcome) -> None:
    lease_finish(lease=lease, state=JobState.CANCELLED)


def _crashed(lease: Lease, order: Order, outcome: Outcome) -> None:
    log.warning("host_crashed", detail=outcome.detail[-500:])
    lease_crash(lease=lease, detail=outcome.detail)


def _stopped(lease: Lease, order: Order, outcome: Outcome) -> None:
    lease_release(lease=lease)


def _dropped(lease: Lease, order: Order, outcome: Outcome) -> None:
    log.warning("lease_lost")


def _too_big(lease: Lease, order: Order, outcome: Outcome) -> None:
    limit = settings.JOB_MEMORY_LIMIT_BYTES / 2**30
    sentence = f"This needed more than the {limit:.1f} GiB of memory that a job may use. Choose a smaller model, batch or prompt."
    _fail(lease, "out_of_memory", sentence, outcome.detail)


def _too_long(lease: Lease, order: Order, outcome: Outcome) -> None:
    sentence = f"This took longer than its limit of {order.time_limit_seconds or 0:,.0f} seconds. Raise the limit or ask for fewer steps."
    _fail(lease, "time_limit", sentence, outcome.detail)


WAYS_OUT: dict[str, Callable[[Lease, Order, Outcome], None]] = {
    "done": _saved,
    "inspected": _saved,
    "failed": _failed,
    "cancelled": _cancelled,
    "crashed": _crashed,
    "stopped": _stopped,
    "dropped": _dropped,
    "memory": _too_big,
    "time": _too_long,
}


def _fail(lease: Lease, kind: str, sentence: str, detail: str) -> None:
    try:
        lease_finish(lease=lease, state=JobState.FAILED, error_kind=kind, error=sentence, detail=detail)
    except LeaseLost:
        log.warning("lease_lost")


def _fail_by_our_fault(lease: Lease, detail: str) -> None:
    """A fault of PromptLab itself: the person gets a reference, the log gets the rest."""
    reference = uuid.uuid4().hex[:8]
    log.error("job_broke", reference=reference, detail=detail)
    sentence = f"Something went wrong inside PromptLab; your data is safe. Start it again, or report reference {reference}."
    _fail(lease, "internal", sentence, detail[-DETAIL_CHARACTERS:])


def _leave_to_the_sweep(lease: Lease, error: DatabaseError) -> None:
    """The database was away or refused: give the job back if it listens again, else let the lease run out."""
    log.warning("job_without_database", error=str(error))
    connection.close()
    try:
        lease_crash(lease=lease, detail=traceback.format_exc()[-DETAIL_CHARACTERS:])
    except DatabaseError:
        log.warning("job_left_to_the_sweep")

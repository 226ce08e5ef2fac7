"""Keeps a claimed job's lease alive on the worker's own clock, and learns what the outside wants of it."""

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery.signals import worker_shutting_down
from celery.worker import state as celery_state
from django.conf import settings
from django.db import DatabaseError, connection

from experiments.services.leases import Lease, LeaseLost, lease_is_cancelled, lease_record, lease_renew
from workers.host import Watch, Wish

CANCEL_LOOK_SECONDS = 2.0
RECORD_SECONDS = 1.0
log = structlog.get_logger(__name__)


# Seen by the children of a pool too, to which Celery's own state says nothing. Without a lock: a child may die at any moment.
_pool_is_leaving = multiprocessing.RawValue(ctypes.c_bool, False)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _tell_pool(**kwargs: Any) -> None:
    _pool_is_leaving.value = True


def worker_is_leaving() -> bool:
    """Whether this Celery worker has been asked to end."""
    return celery_state.should_stop is not None or celery_state.should_terminate is not None or bool(_pool_is_leaving.value)


class LeaseKeeper:
    """Beats for one lease. A database that is away is forgiven for two thirds of the lease; after that somebody else may hold the job."""

    def __init__(self, lease: Lease, *, is_leaving: Callable[[], bool] = worker_is_leaving) -> None:
        self.lease = lease
        self._is_leaving = is_leaving
        self._renewed_at = self._beat_at = self._looked_at = time.monotonic()
        self._recorded_at = 0.0
        self._last: Wish = Wish.GO_ON

    def watch(self) -> Watch:
        return Watch(look=self.look, record=self.record)

    def look(self) -> Wish:
        """Renew when it is time, and say what is wanted now."""
        if self._last is not Wish.DROP:
            self._last = self._ask()
        return self._last

    def record(self, progress: dict[str, Any]) -> None:
        """Store the engine's progress, at most once a second. What is lost by that, the next message brings."""
        now = time.monotonic()
        if now - self._recorded_at < RECORD_SECONDS:
            return
        self._recorded_at = now
        try:
            lease_record(lease=self.lease, progress=progress)
        except LeaseLost:
            self._last = Wish.DROP
        except DatabaseError as error:
            self._forgive(error)

    def _ask(self) -> Wish:
        try:
            if self._is_cancelled():
                return Wish.CANCEL
            return Wish.LEAVE if self._is_leaving() else self._last
        except LeaseLost:
            return Wish.DROP
        except DatabaseError as error:
            return self._forgive(error)

    def _is_cancelled(self) -> bool:
        now = time.monotonic()
        if now - self._beat_at >= settings.JOB_HEARTBEAT_SECONDS:
            self._beat_at = now
            is_cancelled = lease_renew(lease=self.lease)
            self._renewed_at = now
            return is_cancelled
        if now - self._looked_at >= CANCEL_LOOK_SECONDS:
            self._looked_at = now
            return lease_is_cancelled(lease=self.lease)
        return False

    def _forgive(self, error: DatabaseError) -> Wish:
        log.warning("lease_without_database", job=str(self.lease.job_id), error=type(error).__name__)
        connection.close()
        is_safe = time.monotonic() - self._renewed_at < settings.JOB_LEASE_SECONDS * 2 / 3
        return self._last if is_safe else Wish.DROP


@contextmanager
def lease_kept_by_thread(lease: Lease, *, give_up_seconds: float) -> Iterator[None]:
    """Renew from a thread while the caller's own thread does the work; for work that has no process of its own.

    Work that is still stuck after `give_up_seconds` costs its process: nothing gentler can stop it, the pool starts another,
    and the job counts a crash.
    """
    done = threading.Event()
    thread = threading.Thread(target=_renew_until, args=(lease, done, give_up_seconds), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _renew_until(lease: Lease, done: threading.Event, give_up_seconds: float) -> None:
    keeper = LeaseKeeper(lease, is_leaving=lambda: False)
    give_up_at = time.monotonic() + give_up_seconds
    while not done.wait(min(1.0, settings.JOB_HEARTBEAT_SECONDS / 2)) and keeper.look() is not Wish.DROP:
        if time.monotonic() > give_up_at:
            log.error("job_stuck", job=str(lease.job_id), seconds=give_up_seconds)
            os.kill(os.getpid(), signal.SIGKILL)
    connection.close()

"""A Celery worker's heartbeat rows: there while it lives, gone when it ends in order, stale when it was killed."""

import os
import socket
import threading
from importlib.util import find_spec
from typing import Any

import psutil
import structlog
from celery.signals import worker_ready, worker_shutdown
from django.db import DatabaseError, connection
from django.db.models.functions import Now

from experiments.models import Queue, Worker
from workers.perform import slot

BEAT_SECONDS = 5.0
# Extras of this package, by the modules that each brings.
EXTRAS = {"dspy": ("dspy", "optuna")}
log = structlog.get_logger(__name__)


def process_name() -> str:
    """This process, as attempts and worker rows name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Presence:
    """Keeps one row for each queue that this worker serves, from a thread of its own."""

    def __init__(self, queues: list[str], *, num_slots: int) -> None:
        self.queues = queues
        memory = psutil.virtual_memory().total
        self.device = {
            "host": socket.gethostname(),
            "slots": num_slots,
            "cores": os.cpu_count(),
            "memory_bytes": memory,
            "extras": [name for name, needed in EXTRAS.items() if all(map(find_spec, needed))],
        }
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="presence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._leaving.set()
        self._thread.join(timeout=BEAT_SECONDS)

    def register(self) -> None:
        """Write or renew the rows."""
        for queue in self.queues:
            Worker.objects.update_or_create(
                name=f"{queue}@{process_name()}",
                defaults={"seen_at": Now()},
                create_defaults={"seen_at": Now(), "started_at": Now(), "queue": queue, "device": self.device},
            )

    def leave(self) -> None:
        Worker.objects.filter(name__in=[f"{queue}@{process_name()}" for queue in self.queues]).delete()

    def _beat(self) -> None:
        while not self._leaving.is_set():
            _forgiving(self.register)
            slot().close_if_idle()
            self._leaving.wait(BEAT_SECONDS)
        _forgiving(self.leave)
        connection.close()


def _forgiving(step: Any) -> None:
    """A database that is away delays a heartbeat; it must not end it."""
    try:
        step()
    except DatabaseError as error:
        log.warning("presence_without_database", error=type(error).__name__)
        connection.close()


_present: list[Presence] = []


@worker_ready.connect  # type: ignore[untyped-decorator]
def _come(sender: Any, **kwargs: Any) -> None:
    """The worker is ready to take hints."""
    served = [name for name in sender.app.amqp.queues.consume_from if name in Queue.values]
    presence = Presence(served, num_slots=int(sender.pool.info.get("max-concurrency") or 1))
    presence.start()
    _present.append(presence)


@worker_shutdown.connect  # type: ignore[untyped-decorator]
def _go(**kwargs: Any) -> None:
    """The worker ends in order: its rows and its engine host go with it."""
    while _present:
        _present.pop().stop()
    slot().close()

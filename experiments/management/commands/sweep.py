"""`manage.py sweep`: keeps jobs moving when a worker, the broker or a message was lost. One is enough; several do no harm."""

import signal
import threading
import time
from argparse import ArgumentParser
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections

from experiments.services.sweep import scratch_clear, sweep, workers_forget

TIDY_SECONDS = 3600.0
log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Send hints of waiting jobs again, take jobs back from dead workers, set aside what keeps crashing, and clear scratch folders."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--every", type=float, default=10.0, help="Seconds between two passes.")
        parser.add_argument("--once", action="store_true", help="Make one pass and end.")

    def handle(self, *args: Any, every: float, once: bool, **options: Any) -> None:
        if once:
            _tidy()
            self.stdout.write(", ".join(f"{name}: {count}" for name, count in sweep().items()))
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        _keep_sweeping(stop, every)


def _keep_sweeping(stop: threading.Event, every: float) -> None:
    tidied_at = 0.0
    while not stop.is_set():
        try:
            found = sweep()
            if any(found.values()):
                log.info("swept", **found)
            if not tidied_at or time.monotonic() - tidied_at > TIDY_SECONDS:
                _tidy()
                tidied_at = time.monotonic()
        except DatabaseError as error:
            log.warning("sweep_without_database", error=type(error).__name__)
        close_old_connections()
        stop.wait(every)


def _tidy() -> None:
    workers_forget()
    scratch_clear(folder=settings.ATTEMPTS_DIR)

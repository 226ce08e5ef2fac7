"""Brings a search's trials from the engine's journal into the database while the search goes on, so that nothing measured is lost.

Knows where the journal lies and how to read whole lines of it; what a trial is belongs to the service.
"""

import json
from typing import Any

import structlog
from django.db import DatabaseError, connection

from experiments.services.leases import Lease, LeaseLost
from experiments.services.trials import trials_record
from workers.adapters import Order
from workers.host import Watch

JOURNAL = "trials.jsonl"
log = structlog.get_logger(__name__)


class Harvest:
    """Reads what was added to one attempt's journal since the last time."""

    def __init__(self, lease: Lease, order: Order) -> None:
        self._lease = lease
        self._path = order.folder / "out" / JOURNAL
        self._read = 0

    def during(self, watch: Watch) -> Watch:
        """The same watch; each time that progress is told, new trials are stored too."""

        def record(progress: dict[str, Any]) -> None:
            watch.record(progress)
            self.try_collect()

        return Watch(look=watch.look, record=record)

    def try_collect(self) -> None:
        """Store what is new. A database that is away is asked again later; a lost lease is noticed elsewhere."""
        try:
            self.collect()
        except LeaseLost:
            log.warning("lease_lost")
        except DatabaseError as error:
            log.warning("trials_not_stored_yet", error=type(error).__name__)
            connection.close()

    def collect(self) -> None:
        """Store what is new.

        Raises:
            LeaseLost: somebody else has the job.
        """
        if not self._path.exists():
            return
        with self._path.open("rb") as journal:
            journal.seek(self._read)
            content = journal.read()
        whole = content[: content.rfind(b"\n") + 1]
        if whole:
            trials_record(lease=self._lease, looks=[json.loads(line) for line in whole.splitlines()])
            self._read += len(whole)

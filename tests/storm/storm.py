"""A storm over a real instance: `python -m tests.storm.storm --kills 50` kills worker, host, io and sweep at random moments.

Over files and SQLite in a folder of its own; with DATABASE_URL and REDIS_URL over servers, whose database and broker should be for
nothing else; with STORM_ENGINE=real JOB_LEASE_SECONDS=5 over the real engine. Prints one JSON object with what it did and found.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

from tests.storm.fleet import Fleet, orphans
from tests.storm.surroundings import surroundings

PHASES = ["training", "scoring"]
TARGETS = ["worker", "host", "worker", "host", "sweep", "io"]  # in turn, so that a short storm has hit what works


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=240.0, help="Seconds that the last jobs may take after the storm.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        # Never the state directory of a real instance, whatever this shell has set; times may be others.
        asked = {name: value for name, value in os.environ.items() if name.startswith(("JOB_", "STORM_"))}
        os.environ.update(surroundings(Path(os.environ.get("PYTHON_STORM_HOME", folder))) | asked)
        _rage(arguments)


def _rage(arguments: argparse.Namespace) -> None:
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    home = os.environ["PROMPTLAB_HOME"]
    with Fleet(Path(home) / "logs") as fleet:
        report = Storm(fleet, random.Random(arguments.seed)).rage(arguments.kills, arguments.patience)
    report["orphans"] = len(orphans(home))
    sys.stdout.write(json.dumps(report) + "\n")


class Storm:
    def __init__(self, fleet: Fleet, dice: random.Random) -> None:
        from tests.storm import ledger

        self.fleet, self.dice, self.ledger = fleet, dice, ledger
        self.last_kill = datetime.now(UTC)
        self.report: dict[str, Any] = {"kills": 0, "hits": 0, "hits_while_storing": 0, "hits_in": {}, "by_target": {}, "hints_wiped": 0}

    def rage(self, kills: int, patience: float) -> dict[str, Any]:
        """Keep work coming until there were enough kills, then wait for the last job and count."""
        self.ledger.prepare(self.ledger.NUM_ROWS)
        while self.report["kills"] < kills:
            self.ledger.keep_busy()
            self._strike()
            self.fleet.keep_running()
        self.report |= self._leave_in_order()
        started = time.monotonic()
        while self.ledger.num_open() and time.monotonic() - started < patience:
            self.fleet.keep_running()
            time.sleep(0.2)
        return (
            self.report
            | {"is_real": self.ledger.IS_REAL, "settled_seconds": round(time.monotonic() - started, 1)}
            | self.ledger.audit(self.ledger.NUM_ROWS)
        )

    def _leave_in_order(self) -> dict[str, Any]:
        """Ask all processes to end while jobs run: each job goes back to its queue unharmed, and no host is left."""
        self._await_notice()
        self.ledger.keep_busy()
        self._await_running()
        crashes = self.ledger.num_crashes()
        self.fleet.stop()
        left = {"left_running": self.ledger.num_running(), "left_hosts": len(orphans(os.environ["PROMPTLAB_HOME"]))}
        left |= {"crashes_by_leaving": self.ledger.num_crashes() - crashes, "left_workers": self.ledger.num_workers()}
        self.fleet.keep_running()
        return left

    def _await_notice(self) -> None:
        """Until what the last kill hit is noticed: a job of a dead worker counts as running until its lease is swept."""
        until = time.monotonic() + 60
        while self.ledger.num_unheard_since(self.last_kill) and time.monotonic() < until:
            self.fleet.keep_running()
            time.sleep(0.1)

    def _await_running(self) -> None:
        until = time.monotonic() + 60
        while not self.ledger.num_running() and time.monotonic() < until:
            self.fleet.keep_running()
            time.sleep(0.02)

    def _await_phase(self) -> None:
        """The real engine spends most of its time loading; every second blow waits until it learns or predicts."""
        if not self.ledger.IS_REAL or self.dice.random() < 0.5:
            return
        phase, until = self.dice.choice(PHASES), time.monotonic() + 20
        while not self.ledger.num_in(phase) and self.ledger.num_open() and time.monotonic() < until:
            self.fleet.keep_running()
            time.sleep(0.05)

    def _strike(self) -> None:
        """One kill at a random moment after a job began to run."""
        self._await_running()
        self._await_phase()
        time.sleep(self.dice.uniform(0.0, 1.3))
        target = TARGETS[self.report["kills"] % len(TARGETS)]
        is_running, is_storing = self.ledger.num_running() > 0, self.ledger.num_storing() > 0
        phase = next((phase for phase in PHASES if self.ledger.num_in(phase)), "other")
        if not self.fleet.kill(target):
            return
        self.last_kill = datetime.now(UTC)
        self.report["kills"] += 1
        is_hit = is_running and target in ("worker", "host")
        self.report["hits"] += is_hit
        if is_hit:
            self.report["hits_in"][phase] = self.report["hits_in"].get(phase, 0) + 1
        self.report["hits_while_storing"] += is_storing and target == "worker"
        self.report["by_target"][target] = self.report["by_target"].get(target, 0) + 1
        if self.dice.random() < 0.1:
            self.ledger.wipe_hints()
            self.report["hints_wiped"] += 1


if __name__ == "__main__":
    main()

"""A run on its way: its spec, its folder, its clock, and the ways to hear from it and to stop it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workers.engine.contract.outcome import Progress
from workers.engine.contract.spec import BackboneRef, RunSpec
from workers.engine.errors import RunStopped, TimeLimit
from workers.engine.model.backbone import Backbone, load_backbone
from workers.engine.model.runtime import Stopwatch


def _ignore(progress: Progress) -> None:
    del progress


def _never() -> bool:
    return False


@dataclass
class Run:
    """What every chapter of a run may ask for.

    Args:
        provide: gives the backbone; a warm host hands out the one it holds.
        on_progress: hears of every step and batch.
        should_stop: True once somebody asked the run to stop.
        warnings: sentences for the person who reads the result.
        trail: what the last progress message told about training.
    """

    spec: RunSpec
    out: Path
    provide: Callable[[BackboneRef], Backbone] = load_backbone
    on_progress: Callable[[Progress], None] = _ignore
    should_stop: Callable[[], bool] = _never
    watch: Stopwatch = field(default_factory=Stopwatch)
    warnings: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    trail: dict[str, Any] = field(default_factory=dict)

    def check_stop(self) -> None:
        """Raise when the run is to end early.

        Raises:
            RunStopped: somebody asked for it.
            TimeLimit: the run used up its time.
        """
        if self.should_stop():
            raise RunStopped("The run was stopped as asked.")
        limit = self.spec.time_limit_seconds
        if limit is not None and time.monotonic() - self.started > limit:
            raise TimeLimit(f"The run took longer than the {limit:g} seconds it was given. Give it more time or fewer steps.")

    def report(self, progress: Progress) -> None:
        """Pass on a sign of life; the run ends here when it was asked to. What training left is told again while rows are scored."""
        if progress.curve:
            self.trail = {"curve": progress.curve, "losses": progress.losses}
        self.on_progress(replace(progress, **self.trail))
        self.check_stop()

    def load(self) -> Backbone:
        """The backbone of this run."""
        self.report(Progress("loading"))
        self.watch.start("load")
        try:
            return self.provide(self.spec.backbone)
        finally:
            self.watch.stop("load")

"""Times single requests of approaches that exist, in turn: batch of one, warm, from text to answer.

A pass of its own, after all other work of a comparison: approaches that were timed minutes apart, or beside a training, could not
be compared. Throughput is another figure and measured while scoring.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from workers.engine.approach import Approach
from workers.engine.building import build_approach
from workers.engine.contract.latency_spec import LatencySpec
from workers.engine.contract.outcome import Progress, write_json
from workers.engine.contract.spec import BackboneRef, Item
from workers.engine.model.backbone import Backbone, load_backbone
from workers.engine.model.runtime import describe_machine, keep_freed_memory, seed_everything
from workers.engine.rows import read_rows
from workers.engine.run import Run

_BLOCKS = 5
_WARM_UP = 3
_LOOK_SECONDS = 1.0
# Other programs may keep this share of the cores busy before a timing says more about them than about an approach.
_QUIET_SHARE = 0.25


@dataclass
class Latency:
    """Single requests of one approach: wall and CPU time of this process (milliseconds)."""

    rows: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    cpu_p50_ms: float | None = None
    withheld: str | None = None


@dataclass
class LatencyReport:
    """A whole pass: {run id: figures}, and the machine under it.

    Args:
        load: processor cores that other programs kept busy meanwhile.
        withheld: why no figure is given, or None.
    """

    approaches: dict[str, Latency]
    requests: int
    load: float
    cores: int
    seconds: float
    machine: dict[str, str | int]
    withheld: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


class OtherLoad:
    """How busy other programs keep the processors, from now on. Time that a hypervisor takes away counts as theirs."""

    def __init__(self) -> None:
        self._started, self._busy, self._own = time.perf_counter(), _busy_seconds(), time.process_time()

    def cores(self) -> float:
        """Cores that others kept busy since the start, on average."""
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        others = (_busy_seconds() - self._busy) - (time.process_time() - self._own)
        return max(0.0, others / elapsed)


def _busy_seconds() -> float:
    times = psutil.cpu_times()._asdict()
    # Guests are counted among the users already.
    return float(sum(seconds for name, seconds in times.items() if name not in ("idle", "iowait", "guest", "guest_nice")))


@dataclass
class _Contender:
    """One approach in the pass. What sits on the model is taken off between blocks; what changes nothing stays made."""

    run: Run
    kept: Approach | None = None
    items: list[Item] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def ready(self) -> Iterator[Approach]:
        approach = self.kept or build_approach(self.run)
        try:
            yield approach
        finally:
            if self.run.spec.artifact is None:
                self.kept = approach
            else:
                approach.release()

    def result(self) -> Latency:
        if not self.wall:
            return Latency(0, withheld="no row fits into the model with this prompt")
        return Latency(len(self.wall), percentile(self.wall, 0.5), percentile(self.wall, 0.95), percentile(self.cpu, 0.5))


def time_approaches(
    spec: LatencySpec,
    out: Path,
    provide: Callable[[BackboneRef], Backbone] = load_backbone,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> LatencyReport:
    """Ask every approach in turn, a block of requests at a time, and leave `latency.json` in the folder.

    Blocks of all approaches alternate in a shuffled order, so that a slow minute of the machine falls on all of them.

    Raises:
        EngineError: an approach cannot be made, or the pass was asked to stop.
    """
    keep_freed_memory()
    out.mkdir(parents=True, exist_ok=True)
    contenders = [_Contender(Run(run, out, provide, should_stop=should_stop)) for run in spec.runs]
    started = time.perf_counter()
    others = await_quiet(spec.patience_seconds, contenders[0].run.check_stop)
    if _busy_sentence(others) is None:
        look = OtherLoad()
        progress = _Counter(on_progress, spec.requests * len(contenders))
        for _, group in groupby(sorted(contenders, key=_model_of), key=_model_of):
            _time_in_turn(list(group), spec.requests, progress)
        others = look.cores()
    report = _report(spec, contenders, others, time.perf_counter() - started)
    write_json(out / "latency.json", report.to_json())
    return report


def await_quiet(patience_seconds: float, check_stop: Callable[[], None]) -> float:
    """Wait until other programs leave the machine alone, or patience ends. Returns the cores that they kept busy last."""
    until = time.perf_counter() + patience_seconds
    while True:
        look = OtherLoad()
        time.sleep(_LOOK_SECONDS)
        check_stop()
        others = look.cores()
        if _busy_sentence(others) is None or time.perf_counter() > until:
            return others


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def _model_of(contender: _Contender) -> tuple[str, str]:
    """Approaches on one model take turns; another model is loaded only when they are through."""
    backbone = contender.run.spec.backbone
    return backbone.source, backbone.revision or ""


@dataclass
class _Counter:
    """Tells how many requests are through."""

    on_progress: Callable[[Progress], None]
    total: int
    done: int = 0

    def add(self, requests: int) -> None:
        self.done += requests
        self.on_progress(Progress("timing", rows=self.done, rows_total=self.total))


def _time_in_turn(contenders: list[_Contender], requests: int, progress: _Counter) -> None:
    for block in range(_BLOCKS):
        for place in np.random.default_rng(block).permutation(len(contenders)):
            contender = contenders[place]
            seed_everything(contender.run.spec.seed)
            with contender.ready() as approach:
                _time_block(contender, approach, range(block, requests, _BLOCKS), requests)
            progress.add(len(range(block, requests, _BLOCKS)))
    for contender in contenders:
        contender.kept = None


def _time_block(contender: _Contender, approach: Approach, turns: range, requests: int) -> None:
    if not contender.items:
        contender.items = approach.answerable(_spread(read_rows(contender.run.spec.evaluate[0].file, contender.run.spec.labels), requests))
    if not contender.items:
        return
    items = [contender.items[turn % len(contender.items)] for turn in turns]
    approach.predict(items[:2], lambda done: None)  # whether the prefix may be shared is probed before it is cached
    answer = approach.warm()
    for item in items[:_WARM_UP]:
        answer(item)
    for item in items:
        contender.run.check_stop()
        cpu, wall = time.process_time(), time.perf_counter()
        answer(item)  # ends with the answer in main memory, so an accelerator has ended too
        contender.wall.append((time.perf_counter() - wall) * 1000)
        contender.cpu.append((time.process_time() - cpu) * 1000)


def _spread(rows: Sequence[Item], wanted: int) -> list[Item]:
    """Rows from all over the file, which may be sorted by label."""
    return list(rows[:: max(1, len(rows) // wanted)][:wanted])


def _busy_sentence(load: float) -> str | None:
    cores = psutil.cpu_count() or 1
    if load <= _QUIET_SHARE * cores:
        return None
    return f"the machine was busy: other programs used {load:.1f} of {cores} cores"


def _report(spec: LatencySpec, contenders: Sequence[_Contender], load: float, seconds: float) -> LatencyReport:
    busy = _busy_sentence(load)
    figures = {each.run.spec.id: Latency(0, withheld=busy) if busy else each.result() for each in contenders}
    machine = describe_machine(spec.runs[0].backbone.device)
    return LatencyReport(figures, spec.requests, round(load, 2), psutil.cpu_count() or 1, seconds, machine, busy)

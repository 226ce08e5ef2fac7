"""The arithmetic of the benchmark: equality first, rounds in turn, ratios of minima. Knows no model and no peer.

Both sides do the same work in turn after they were shown to find the same, so that a slow minute of the machine falls on both. A
ratio is the peer's shortest round over ours; CPU time takes the place of wall time where other programs share the processor.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Generic, TypeVar

from workers.bench.gates import GATES

Found = TypeVar("Found")


class NotEqual(Exception):
    """The two sides find different things, so that their speeds cannot be compared."""


@dataclass(frozen=True)
class Spent:
    """Seconds of one round: by the clock on the wall, and of this process on all processors."""

    wall: float
    cpu: float

    def by(self, clock: str) -> float:
        """Seconds by one of the two clocks."""
        return self.wall if clock == "wall" else self.cpu


class Clock:
    """Measures the part of a round that counts; what comes before the start and after the stop does not.

    Args:
        settle: waits until the device has done what it was given.
    """

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        self._settle = settle
        self._started: tuple[float, float] | None = None
        self.spent: Spent | None = None

    def start(self) -> None:
        """Begin to count; later calls change nothing."""
        if self._started is None:
            self._settle()
            self._started = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """What counts has ended; the last call holds."""
        assert self._started is not None, "a clock stops after it was started"
        self._settle()
        wall, cpu = self._started
        self.spent = Spent(time.perf_counter() - wall, time.process_time() - cpu)


def total(clocks: Sequence[Clock]) -> Spent:
    """What several clocks counted, for a round that is made of parts."""
    spent = [clock.spent for clock in clocks if clock.spent]
    return Spent(sum(each.wall for each in spent), sum(each.cpu for each in spent))


@dataclass(frozen=True)
class Side(Generic[Found]):
    """One contender of a measure.

    Args:
        name: how the table calls it, with the setting that it was given.
        run: one round; starts and stops the clock around what counts, and returns what it found.
        small: a short round of the same kind, for the equality that comes first; a whole round unless given.
        flop: floating-point operations of one round, counted by hand.
    """

    name: str
    run: Callable[[Clock], Found]
    small: Callable[[Clock], Found] | None = None
    flop: float | None = None


@dataclass(frozen=True)
class Timing:
    """The rounds of one side."""

    rounds: tuple[Spent, ...]

    def best(self, clock: str) -> float:
        """The shortest round (seconds)."""
        return min(spent.by(clock) for spent in self.rounds)

    def median(self, clock: str) -> float:
        """The median round (seconds)."""
        return median(spent.by(clock) for spent in self.rounds)


@dataclass
class Entry:
    """One line of the table and of `latest.json`.

    Args:
        ours, peer_value: in `unit`.
        ratio: the peer's time over ours.
        gate, goal, limit: what is asked for, what is aimed at, and what both sides allow at equal efficiency of the hardware.
        ok: the gate is reached; None where it is not judged, and `note` says why.
        equal: how the equality of the two sides was shown.
        details: seconds of both sides by both clocks, and the rate of operations.
    """

    id: str
    peer: str
    unit: str
    ours: float | None = None
    peer_value: float | None = None
    ratio: float | None = None
    gate: float | None = None
    goal: float | None = None
    limit: float | None = None
    ok: bool | None = None
    equal: str = ""
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Rules:
    """How a whole benchmark counts.

    Args:
        rounds: of each side, after the warm-up.
        clock: `wall`, or `cpu` where other programs share the processor.
        judged: figures are held against the gates.
        peak: operations a second of one large matrix product (GFLOP/s), measured in the same run.
        settle: waits for the device.
    """

    rounds: int = 2
    clock: str = "wall"
    judged: bool = True
    peak: float = 0.0
    settle: Callable[[], None] = lambda: None


def compare(
    rules: Rules,
    name: str,
    peer: Side[Found],
    ours: Side[Found],
    check: Callable[[Found, Found], str],
    amount: tuple[float, str],
    again: Callable[[Found, Found], str] | None = None,
) -> Entry:
    """One measure, from equality to ratio.

    Args:
        name: id of the measure.
        check: says how far two findings agree.
        amount: work of one round, and the unit in which it is reported per second.
        again: the same for whole rounds, where it is not `check`.
    Raises:
        NotEqual: the sides find different things.
    """
    equal = check((peer.small or peer.run)(Clock(rules.settle)), (ours.small or ours.run)(Clock(rules.settle)))
    theirs, mine = in_turn(rules, peer, ours, again or check)
    entry = Entry(name, peer.name, amount[1], equal=equal, details=details_of(rules, (peer, theirs), (ours, mine)))
    entry.peer_value, entry.ours = amount[0] / theirs.best(rules.clock), amount[0] / mine.best(rules.clock)
    entry.ratio = theirs.best(rules.clock) / mine.best(rules.clock)
    entry.limit = peer.flop / ours.flop if peer.flop and ours.flop else None
    return judge(entry, rules)


def in_turn(rules: Rules, peer: Side[Found], ours: Side[Found], check: Callable[[Found, Found], str]) -> tuple[Timing, Timing]:
    """Rounds of both sides in turn; what every round finds is compared too."""
    theirs: list[Spent] = []
    mine: list[Spent] = []
    for _ in range(rules.rounds):
        found = []
        for side, spent in ((peer, theirs), (ours, mine)):
            clock = Clock(rules.settle)
            found.append(side.run(clock))
            assert clock.spent is not None, f"{side.name} did not stop its clock"
            spent.append(clock.spent)
        check(*found)
    return Timing(tuple(theirs)), Timing(tuple(mine))


def judge(entry: Entry, rules: Rules) -> Entry:
    """Hold an entry against its gate; a limit that was counted by hand comes before the one that was estimated."""
    gate = GATES.get(entry.id)
    if gate is None:
        return entry
    entry.gate, entry.goal = gate.gate, gate.goal
    entry.limit = gate.limit if entry.limit is None else entry.limit
    if rules.judged and entry.ratio is not None and gate.gate is not None:
        entry.ok = entry.ratio >= gate.gate
    return entry


def median_ratio(theirs: Timing, mine: Timing, clock: str) -> float:
    """The median of the ratios of rounds that stood side by side, for measures whose ratio is near one."""
    return median(a.by(clock) / b.by(clock) for a, b in zip(theirs.rounds, mine.rounds, strict=True))


def require_close(what: str, theirs: Sequence[float], mine: Sequence[float], *, absolute: float = 0.0, relative: float = 0.0) -> str:
    """Say how far two lists of numbers agree.

    Args:
        absolute, relative: largest allowed difference; it may be the one or the other share of the peer's number.
    Raises:
        NotEqual: a difference is larger, or the lists are not equally long.
    """
    if len(theirs) != len(mine) or not theirs:
        raise NotEqual(f"{what}: the peer found {len(theirs)} numbers, we found {len(mine)}.")
    gaps = [abs(a - b) for a, b in zip(theirs, mine, strict=True)]
    for gap, their in zip(gaps, theirs, strict=True):
        if not gap <= absolute + relative * abs(their):
            raise NotEqual(f"{what}: the sides differ by {gap:.3g} where the peer found {their:.6g}.")
    return f"{what} within {max(gaps):.1e}"


def require_same(what: str, theirs: Sequence[object], mine: Sequence[object]) -> str:
    """Say that two lists are the same.

    Raises:
        NotEqual: they are not.
    """
    for place, (their, my) in enumerate(zip(theirs, mine, strict=True)):
        if their != my:
            raise NotEqual(f"{what}: number {place + 1} is {their!r} at the peer and {my!r} here.")
    return f"{len(theirs)} {what} the same"


def details_of(rules: Rules, *sides: tuple[Side[Any], Timing]) -> dict[str, Any]:
    """Seconds of the peer and of ours by both clocks, and their rates of operations."""
    found: dict[str, Any] = {}
    for who, (side, timing) in zip(("peer", "ours"), sides, strict=True):
        found[who] = {
            "setting": side.name,
            "rounds": len(timing.rounds),
            **{f"{clock}_{name}": getattr(timing, name)(clock) for clock in ("wall", "cpu") for name in ("best", "median")},
        }
        if side.flop:
            found[who]["gflops"] = side.flop / timing.best(rules.clock) / 1e9
            found[who]["share_of_peak"] = found[who]["gflops"] / rules.peak if rules.peak else None
    return found

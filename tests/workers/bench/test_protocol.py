"""Equality before speed, rounds in turn, ratios of the shortest rounds, verdicts by the gates: on made-up sides."""

import pytest
import torch

from workers.bench.gates import GATES
from workers.bench.lab import QUICK, Lab
from workers.bench.protocol import (
    Clock,
    Entry,
    NotEqual,
    Rules,
    Side,
    Spent,
    Timing,
    compare,
    in_turn,
    judge,
    median_ratio,
    require_close,
    require_same,
)
from workers.bench.shapes import SMALL


class Days:
    """Stands in for the time: it passes when a side works."""

    def __init__(self, monkeypatch) -> None:
        self.wall = self.cpu = 0.0
        monkeypatch.setattr("workers.bench.protocol.time.perf_counter", lambda: self.wall)
        monkeypatch.setattr("workers.bench.protocol.time.process_time", lambda: self.cpu)

    def side(self, name, walls, cpus=None, found=1.0, log=None, **more):
        """A side whose rounds take these seconds, one after the other, after setting up for an hour."""
        rounds = iter(zip(walls, cpus or walls, strict=True))

        def run(clock: Clock):
            self.wall += 3600
            clock.start()
            wall, cpu = next(rounds)
            self.wall += wall
            self.cpu += cpu
            clock.stop()
            self.wall += 3600
            if log is not None:
                log.append(name)
            return found

        return Side(name, run, **more)


@pytest.fixture
def days(monkeypatch):
    return Days(monkeypatch)


def same(theirs, mine):
    return require_same("findings", [theirs], [mine])


def test_a_ratio_is_the_peers_shortest_round_over_ours_and_the_warm_up_does_not_count(days):
    peer = days.side("peer", [1, 40, 30])
    ours = days.side("ours", [0.5, 4, 3])

    entry = compare(Rules(rounds=2), "a1", peer, ours, same, (60, "rows/s"))

    assert entry.ratio == 10
    assert (entry.peer_value, entry.ours, entry.unit) == (2, 20, "rows/s")
    assert entry.details["peer"]["wall_median"] == 35


def test_rounds_alternate_and_equality_comes_first(days):
    log = []
    peer, ours = days.side("peer", [1] * 4, log=log), days.side("ours", [1] * 4, log=log)

    compare(Rules(rounds=3), "a1", peer, ours, lambda a, b: log.append("equal") or "", (1, "x/s"))

    assert log == ["peer", "ours", "equal"] * 4


def test_sides_that_find_different_things_are_not_timed(days):
    log = []
    peer, ours = days.side("peer", [1] * 3, log=log), days.side("ours", [1] * 3, found=2.0, log=log)

    with pytest.raises(NotEqual, match=r"1\.0 at the peer and 2\.0 here"):
        compare(Rules(), "a1", peer, ours, same, (1, "x/s"))

    assert log == ["peer", "ours"]


def test_a_round_that_finds_something_else_spoils_the_measure(days):
    found = iter([1.0, 1.0, 7.0])
    ours = days.side("ours", [1] * 3)
    drifting = Side("ours", lambda clock: (ours.run(clock), next(found))[1])

    with pytest.raises(NotEqual):
        compare(Rules(), "a1", days.side("peer", [1] * 3), drifting, same, (1, "x/s"))


def test_processor_time_takes_the_place_of_wall_time_where_others_share_the_processor(days):
    peer = days.side("peer", [100, 100], cpus=[8, 8])
    ours = days.side("ours", [1, 1], cpus=[2, 2])

    assert compare(Rules(rounds=1, clock="cpu"), "a1", peer, ours, same, (1, "x/s")).ratio == 4


def test_limit_and_rates_follow_from_counted_operations(days):
    peer, ours = days.side("peer", [9, 2], flop=8e9), days.side("ours", [9, 1], flop=2e9)

    entry = compare(Rules(rounds=1, peak=8.0), "a1", peer, ours, same, (1, "x/s"))

    assert entry.limit == 4
    assert entry.details["peer"]["gflops"] == 4
    assert entry.details["ours"]["share_of_peak"] == 0.25


def test_near_sides_are_told_apart_by_the_median_of_neighbouring_rounds():
    peer = Timing(tuple(Spent(wall, 0) for wall in (10, 30, 12)))
    ours = Timing(tuple(Spent(wall, 0) for wall in (8, 20, 4)))

    assert median_ratio(peer, ours, "wall") == 1.5


@pytest.mark.parametrize(("ratio", "ok"), [(GATES["a1"].gate, True), (GATES["a1"].gate - 0.01, False)])
def test_a_gate_is_reached_or_missed(ratio, ok):
    assert judge(Entry("a1", "peer", "rows/s", ratio=ratio), Rules()).ok is ok


def test_nothing_is_judged_in_a_quick_look_or_without_a_ratio():
    assert judge(Entry("a1", "peer", "rows/s", ratio=50.0), Rules(judged=False)).ok is None
    assert judge(Entry("a1", "peer", "rows/s"), Rules()).ok is None


def test_a_counted_limit_comes_before_an_estimated_one():
    assert judge(Entry("a3", "peer", "rows/s", limit=2.2), Rules()).limit == 2.2
    assert judge(Entry("a3", "peer", "rows/s"), Rules()).limit == GATES["a3"].limit


def test_a_goal_lies_above_its_gate_and_within_its_limit():
    for gate in GATES.values():
        if gate.gate is not None and gate.goal is not None:
            assert gate.gate < gate.goal <= (gate.limit or gate.goal)


def test_closeness_is_absolute_and_relative_and_names_the_largest_gap():
    assert require_close("numbers", [100.0, 1.0], [100.5, 1.0], relative=0.01) == "numbers within 5.0e-01"
    with pytest.raises(NotEqual, match=r"differ by 0\.5 where the peer found 1"):
        require_close("numbers", [100.0, 1.0], [100.0, 1.5], absolute=0.1)


@pytest.mark.parametrize("mine", [[], [1.0, 2.0], [float("nan")]])
def test_missing_further_or_broken_numbers_are_not_close(mine):
    with pytest.raises(NotEqual):
        require_close("numbers", [1.0], mine, absolute=1e9)


def test_a_clock_counts_from_its_first_start_to_its_last_stop(days):
    clock = Clock()
    clock.start()
    days.wall = 2
    clock.start()
    days.wall = 3
    clock.stop()
    days.wall = 5
    clock.stop()

    assert clock.spent.wall == 5


def test_every_round_needs_a_stopped_clock(days):
    with pytest.raises(AssertionError, match="did not stop"):
        in_turn(Rules(), Side("peer", lambda clock: 1.0), days.side("ours", [1, 1]), same)


def test_a_peer_is_held_at_the_fastest_of_its_ways_and_asked_once(days, tmp_path, monkeypatch):
    lab, asked = Lab(tmp_path, SMALL, QUICK, Rules()), []
    monkeypatch.setattr(Lab, "settle", lambda self: None)

    def run(way, clock):
        asked.append(way)
        if way == 128:
            raise torch.OutOfMemoryError
        days.side("peer", [abs(way - 8) + 1]).run(clock)

    assert [lab.best_of("long", (1, 8, 32, 128), run) for _ in range(2)] == [8, 8]
    assert asked == [1, 8, 32, 128]

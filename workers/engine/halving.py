"""How a budget of evaluations is spent on many candidates: few rows for all, more rows for the better ones. Pure arithmetic."""

from dataclasses import dataclass

ETA = 3
_FEWEST_ROWS = 16
_MOST_RUNGS = 5


@dataclass(frozen=True)
class Rung:
    """One round: this many candidates have answered this many rows when it ends; rows of earlier rounds are not run again."""

    candidates: int
    rows: int


def plan_rungs(budget: int, rows: int, candidates: int) -> list[Rung]:
    """Rounds of successive halving that spend at most the budget.

    Every round keeps one candidate in three and gives it three times the rows. As many candidates start as the budget allows.

    Args:
        budget: evaluations, one is one candidate on one row.
        rows: validation rows there are.
        candidates: candidates there are, at least 1.
    Source: Karnin et al. 2013, Almost Optimal Exploration in Multi-Armed Bandits; Jamieson & Talwalkar 2016.
    """
    last = max(1, min(rows, budget // 4))
    sizes = [last]
    while sizes[0] // ETA >= _FEWEST_ROWS and len(sizes) < _MOST_RUNGS:
        sizes.insert(0, sizes[0] // ETA)
    for start in range(candidates, 0, -1):
        rungs = [Rung(_kept(start, place), size) for place, size in enumerate(sizes)]
        if cost_of(rungs) <= budget or start == 1:
            return rungs
    raise AssertionError("a single candidate always fits")


def cost_of(rungs: list[Rung]) -> int:
    """Evaluations that the rounds need."""
    before = [0, *(rung.rows for rung in rungs)]
    return sum(rung.candidates * (rung.rows - already) for rung, already in zip(rungs, before, strict=False))


def _kept(start: int, place: int) -> int:
    # The written prompt always stays, so that the winner is measured against it on the same rows.
    return min(start, max(2, -(-start // int(ETA**place))))

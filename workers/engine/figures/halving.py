"""How a budget is spent on many candidates: little on all, more on the better ones. Pure arithmetic.

Prompts get more rows to answer, trainings more steps to take.
"""

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


@dataclass(frozen=True)
class Stage:
    """One round of trainings: this many configurations have taken this many steps when it ends."""

    configurations: int
    steps: int


def plan_stages(configurations: int, steps: int, every: int) -> list[Stage]:
    """Rounds in which the better third of the configurations goes on with three times the steps, until one is left.

    Args:
        configurations: how many start, at least 1.
        steps: most steps of a training.
        every: steps between two looks at the validation rows; a round ends with a look.
    Source: Jamieson & Talwalkar 2016, Non-stochastic Best Arm Identification and Hyperparameter Optimization.
    """
    count = 1
    while ETA ** (count - 1) < configurations:
        count += 1
    stages: list[Stage] = []
    for place in range(count):
        ends = min(steps, -(-steps // (ETA ** (count - 1 - place) * every)) * every)
        if not stages or ends > stages[-1].steps:
            stages.append(Stage(-(-configurations // ETA**place), ends))
    return stages


def _kept(start: int, place: int) -> int:
    # The written prompt always stays, so that the winner is measured against it on the same rows.
    return min(start, max(2, -(-start // int(ETA**place))))

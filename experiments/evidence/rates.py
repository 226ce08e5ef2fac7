"""Shares of rows, with how sure they are: intervals and tests from counts alone. Pure; scipy and numpy are imported when needed.

Shares and differences lie between -1 and 1; points (hundredths) exist only in sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Rate:
    """A share of rows with its Wilson interval."""

    correct: int
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; where it cannot be computed, None and the reason."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def wilson_rate(correct: int, n: int, *, level: float = 0.95) -> Rate:
    """A share with its score interval.

    Args:
        correct: rows that count; n: all rows, at least one.
    Source: Wilson 1927, through scipy.stats.binomtest.
    """
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(confidence_level=level, method="wilson")
    return Rate(correct, n, correct / n, float(interval.low), float(interval.high))


def paired_difference(only_a: int, only_b: int, n: int, *, level: float = 0.95) -> Estimate:
    """Share right under A minus share right under B on the same rows, with its interval.

    The interval keeps a width when the two agree on every row, where resampling would claim certainty.

    Args:
        only_a: rows that only A has right; only_b: rows that only B has right; n: all rows.
    Source: Bonett and Price 2012, adjusted Wald interval for paired proportions.
    """
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = share_a - share_b
    half = NormalDist().inv_cdf(0.5 + level / 2) * ((share_a + share_b - centre**2) / (n + 2)) ** 0.5
    return Estimate((only_a - only_b) / n, max(-1.0, centre - half), min(1.0, centre + half))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided mid-p value of McNemar's test that neither is right more often.

    The exact test is too careful; the mid-p keeps its level in practice.

    Source: Fagerland, Lydersen, Laake 2013, eq. for the mid-p version.
    """
    from scipy.stats import binom

    discordant, fewer = only_a + only_b, min(only_a, only_b)
    if not discordant:
        return 1.0
    return float(min(1.0, 2 * binom.cdf(fewer, discordant, 0.5) - binom.pmf(fewer, discordant, 0.5)))


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """The p-values, adjusted so that the chance of any false finding among them keeps its level.

    Source: Holm 1979, step-down.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


@dataclass(frozen=True)
class Spread:
    """What one approach scored over its seeds."""

    num_seeds: int
    mean: float
    lowest: float
    highest: float
    deviation: float | None


def seed_spread(values: Sequence[float]) -> Spread:
    """Mean, extremes and sample standard deviation (None for one seed) of at least one value."""
    mean = sum(values) / len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else None
    return Spread(len(values), mean, min(values), max(values), deviation)


def method_difference(group: Sequence[Sequence[bool]], against: Sequence[Sequence[bool]], *, level: float = 0.95) -> Estimate:
    """Mean accuracy over seeds minus that of the other approach, with an interval for new seeds and new rows.

    The variances over seeds and over rows are added, which counts a part twice and so errs on the wide side; the t
    quantile has the degrees of freedom of the fewest seeds.

    Args:
        group, against: [seeds][rows] whether each row is right; `against` has one seed where nothing is random.
    """
    import numpy as np
    from scipy.stats import t

    ours, theirs = np.asarray(group, dtype=np.float64), np.asarray(against, dtype=np.float64)
    by_row = ours.mean(axis=0) - theirs.mean(axis=0)
    variance = by_row.var(ddof=1) / by_row.size if by_row.size > 1 else 0.0
    variance += sum(side.mean(axis=1).var(ddof=1) / len(side) for side in (ours, theirs) if len(side) > 1)
    degrees = min(len(side) for side in (ours, theirs) if len(side) > 1) - 1
    half = float(t.ppf(0.5 + level / 2, degrees) * variance**0.5)
    value = float(by_row.mean())
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half))

"""A mean over rows with how sure it is. Pure; numpy is imported when needed."""

from collections.abc import Sequence

from experiments.evidence.rates import Estimate

CHUNK = 2_000_000  # drawn rows held at a time


def mean_estimate(values: Sequence[float], *, level: float = 0.95, resamples: int = 2_000, seed: int = 0) -> Estimate:
    """The mean of one figure a row with its percentile bootstrap interval over rows.

    The interval has no width where all rows are equal, which says more than few rows can; `n` stands beside it everywhere.

    Args:
        values: one a row, at least one.
    """
    import numpy as np

    rows = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK // rows.size)
    draws = [
        rows[generator.integers(rows.size, size=(min(size, resamples - start), rows.size))].mean(axis=1)
        for start in range(0, resamples, size)
    ]
    low, high = np.quantile(np.concatenate(draws), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(rows.mean()), float(low), float(high))

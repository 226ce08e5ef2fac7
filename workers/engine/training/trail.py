"""What training leaves behind for a chart, in a bounded number of points however long it takes. Knows numbers only."""

from collections.abc import Sequence
from typing import TypeVar

from workers.engine.contract.outcome import LossPoint

MOST_POINTS = 100
P = TypeVar("P")


def loss_added(trail: Sequence[LossPoint], point: LossPoint, *, most: int = MOST_POINTS) -> list[LossPoint]:
    """The trail with one more step.

    Every point is the mean of equally many steps, but for the last one, which still fills up. When there are too many points,
    neighbours are joined, so that a stretch doubles; what a reader sees stays a mean and never skips a step.

    Args:
        trail: points in the order of their steps.
        point: one step.
    """
    stretch = trail[0].steps if trail else 1
    fills_up = len(trail) > 1 and trail[-1].steps < stretch
    joined = [*trail[:-1], _joined(trail[-1], point)] if fills_up else [*trail, point]
    return _halved(joined) if len(joined) > most else joined


def thinned(points: Sequence[P], *, most: int = MOST_POINTS) -> tuple[P, ...]:
    """At most about `most` of the points at even distances, always the last one."""
    stride = -(-len(points) // most) or 1
    return tuple(reversed(points[::-1][::stride]))


def _halved(trail: Sequence[LossPoint]) -> list[LossPoint]:
    pairs = [_joined(one, other) for one, other in zip(trail[::2], trail[1::2], strict=False)]
    return [*pairs, trail[-1]] if len(trail) % 2 else pairs


def _joined(one: LossPoint, other: LossPoint) -> LossPoint:
    steps = one.steps + other.steps
    mean = (one.train_loss * one.steps + other.train_loss * other.steps) / steps
    return LossPoint(other.step, other.seconds, mean, steps)

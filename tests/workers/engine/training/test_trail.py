"""However long a training is, its trail is short, ends at its last step, and its mean is the mean of every step."""

import pytest

from workers.engine.contract.outcome import LossPoint
from workers.engine.training.trail import loss_added, thinned


def trail_of(losses: list[float], *, most: int) -> list[LossPoint]:
    trail: list[LossPoint] = []
    for step, loss in enumerate(losses, start=1):
        trail = loss_added(trail, LossPoint(step, step * 0.5, loss), most=most)
    return trail


@pytest.mark.parametrize("num_steps", [1, 2, 10, 11, 37, 1_000])
def test_a_trail_stays_short_and_leaves_no_step_out(num_steps):
    losses = [1 / step for step in range(1, num_steps + 1)]

    trail = trail_of(losses, most=10)

    assert len(trail) <= 10
    assert trail[-1].step == num_steps
    assert sum(point.steps for point in trail) == num_steps
    assert sum(point.train_loss * point.steps for point in trail) == pytest.approx(sum(losses))


def test_a_short_training_keeps_every_step():
    assert [point.train_loss for point in trail_of([3.0, 2.0, 1.0], most=10)] == [3.0, 2.0, 1.0]


def test_every_point_but_the_last_covers_equally_many_steps():
    assert len({point.steps for point in trail_of([1.0] * 999, most=10)[:-1]}) == 1


@pytest.mark.parametrize("number", [0, 1, 7, 10, 11, 25])
def test_thinning_keeps_the_last_look(number):
    kept = thinned(list(range(number)), most=10)

    assert len(kept) <= 10
    assert kept[-1:] == ((number - 1,) if number else ())

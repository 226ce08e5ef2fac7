"""How a gradient becomes a step: the size of every step, and how far one gradient may reach."""

import pytest
import torch

from tests.workers.engine.fakes import make_backbone
from tests.workers.engine.training.test_loop import make_trainer
from workers.engine.training.updates import rate_at


@pytest.mark.parametrize(
    ("warmup", "schedule", "rates"),
    [
        (4, "linear", [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]),
        (4, "constant", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]),
        (0, "linear", [1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        (16, "linear", [0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375, 0.5]),
    ],
)
def test_step_size_rises_over_the_warm_up_and_falls_after_it(warmup, schedule, rates):
    options = {"warmup_steps": warmup, "max_steps": 8, "schedule": schedule}

    assert [rate_at(step, 1.0, options) for step in range(8)] == pytest.approx(rates)


@pytest.mark.parametrize(("limit", "length"), [(0.5, 0.5), (0.0, 10.0), (20.0, 10.0)])
def test_a_gradient_longer_than_the_limit_is_shortened_to_it(limit, length):
    trainer = make_trainer(make_backbone(), "prompt_tuning", clip_norm=limit)
    [parameter] = trainer.parameters.values()
    parameter.grad = torch.ones_like(parameter) * (10.0 / parameter.numel() ** 0.5)

    trainer.use_gradients(1.0)

    assert float(parameter.grad.norm()) == pytest.approx(length, rel=1e-4)


def test_the_step_that_is_taken_has_the_size_of_the_schedule():
    trainer = make_trainer(make_backbone(), "lora", learning_rate=0.1, warmup_steps=4)
    parameters = list(trainer.parameters.values())
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)

    trainer.use_gradients(1.0)

    # AdamW's first step is as long as the step size, whatever the gradient.
    moved = torch.cat([(old - new.detach()).flatten() for old, new in zip(before, parameters, strict=True)])
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1 / 4), rtol=1e-3, atol=1e-6)

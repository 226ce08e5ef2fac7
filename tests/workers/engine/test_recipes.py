"""Step sizes worth trying, by method and size of the model."""

import pytest

from workers.engine.recipes import METHODS, rate_grid, resolve_options

TUNED = [name for name, method in METHODS.items() if method.family == "tuned"]


@pytest.mark.parametrize(
    ("method", "parameters", "rates"),
    [
        ("prompt_tuning", 10**9, [0.02, 0.05, 0.15]),
        ("prompt_tuning", 10**7, [0.15, 0.5, 1.5]),
        ("cpt", 10**7, [0.02, 0.05, 0.15]),
        ("lora", 99_000_000, [5e-4, 2e-3, 5e-3]),
        ("lora", 100_000_000, [1e-4, 2e-4, 5e-4]),
        ("full", 100_000_000, [5e-6, 2e-5, 5e-5]),
    ],
)
def test_steps_follow_the_embeddings_and_the_size_of_the_model(method, parameters, rates):
    assert [options["learning_rate"] for options in rate_grid(method, parameters)] == rates


def test_t5_has_a_step_and_an_optimizer_of_its_own():
    [options] = rate_grid("prompt_tuning", 10**8, family="t5")

    assert options == {"learning_rate": 0.3, "optimizer": "adafactor", "schedule": "constant"}


@pytest.mark.parametrize("method", TUNED)
def test_every_step_of_a_grid_is_a_valid_recipe(method):
    for options in rate_grid(method, 10**8):
        assert resolve_options(method, options)["learning_rate"] == options["learning_rate"]

"""Step sizes worth trying, by method and size of the model."""

import pytest

from workers.engine.contract.recipes import METHODS, rate_grid, resolve_options
from workers.engine.errors import BadSpec

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


@pytest.mark.parametrize(
    ("method", "name", "value", "sentence"),
    [
        ("lora", "max_steps", float("inf"), "max_steps is inf; it must be a whole number."),
        ("lora", "batch_size", float("nan"), "batch_size is nan; it must be a whole number."),
        ("lora", "learning_rate", float("nan"), "learning_rate is nan; it must be a number."),
        ("prompt_tuning", "learning_rate", 1e6, "learning_rate is 1000000.0; it must lie between 1e-05 and 10 x embedding RMS."),
        ("lora", "learning_rate", 0, "learning_rate is 0; it must lie between 1e-07 and 1."),
        ("lora", "learning_rate", -0.1, "learning_rate is -0.1; it must lie between 1e-07 and 1."),
        ("lora", "patience", -1, "patience is -1; it must lie between 0 and 10000."),
        ("p_tuning", "num_virtual_tokens", 0, "num_virtual_tokens is 0; it must lie between 1 and 2000 tokens."),
        ("lora", "alpha", 0, "alpha is 0; it must lie between 0.01 and 4096."),
        ("lora", "target_modules", "q_proj", "target_modules is 'q_proj'; it must be a list of names, or be left out."),
        ("lora", "target_modules", ["q_proj", 3], "target_modules is ['q_proj', 3]; it must be a list of names, or be left out."),
    ],
)
def test_option_that_makes_no_sense_is_refused_in_one_sentence(method, name, value, sentence):
    with pytest.raises(BadSpec) as refused:
        resolve_options(method, {name: value})

    assert refused.value.message == sentence

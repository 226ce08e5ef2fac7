"""A run's page says what it was asked in the words of the form."""

from experiments.catalogue.recipes import recipe_options
from experiments.reads.dial_lines import DialLine, dial_lines


def test_dials_stand_under_their_labels_and_say_what_somebody_changed():
    lines = {line.name: line for line in dial_lines("lora", recipe_options("lora", {"max_steps": 100, "schedule": "constant"}))}

    assert lines["max_steps"] == DialLine("max_steps", "Steps", "100", changed=True)
    assert lines["schedule"].value == "stays as it is"
    assert lines["batch_size"] == DialLine("batch_size", "Batch", "16 rows", changed=False)


def test_a_rate_that_goes_by_the_model_is_no_change():
    facts = {"parameters": 500_000_000}

    lines = {line.name: line for line in dial_lines("lora", recipe_options("lora", {}, facts), facts)}

    assert lines["learning_rate"] == DialLine("learning_rate", "Learning rate", "0.0002", changed=False)


def test_two_approaches_of_one_method_are_told_apart_by_what_is_fixed_in_them():
    assert all(not line.changed for key in ("soft_prompt", "hybrid") for line in dial_lines("prompt_tuning", recipe_options(key, {})))


def test_a_dial_that_the_catalogue_does_not_know_keeps_its_name():
    assert dial_lines("lora", {"forgotten": ""}) == [DialLine("forgotten", "forgotten", "–", changed=False)]

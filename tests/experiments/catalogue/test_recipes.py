"""Reading the dials of an approach: every default written out, every mistake named with its range."""

import pytest

from experiments.catalogue.recipes import BASELINES, CATALOGUE, PACK, recipe_get, recipe_options
from experiments.errors import UserError


def test_the_preselected_pack_is_the_usual_contenders():
    assert PACK == ("zero_shot", "few_shot", "soft_prompt", "hybrid", "lora")
    assert BASELINES == ("majority", "label_overlap", "tfidf_logreg", "linear_probe")


def test_typed_text_becomes_a_number_of_the_right_kind():
    options = recipe_options("lora", {"rank": "16", "learning_rate": "1e-3", "target_modules": "q_proj, v_proj"})

    assert options["rank"] == 16
    assert isinstance(options["rank"], int)
    assert options["learning_rate"] == 0.001
    assert options["target_modules"] == ["q_proj", "v_proj"]


def test_an_empty_field_keeps_the_default():
    assert recipe_options("lora", {"rank": "", "alpha": None})["rank"] == 8


@pytest.mark.parametrize("value", ["0", "9000", "2.5", "many", "nan", "inf", "1e400", True, [1]])
def test_a_bad_number_is_refused_with_its_range(value):
    with pytest.raises(UserError, match=r"LoRA: rank is “.*”; it must be a whole number from 1 to 512"):
        recipe_options("lora", {"rank": value})


def test_a_learning_rate_of_a_million_is_refused():
    with pytest.raises(UserError, match=r"Soft prompt: learning rate is “1e6”; it must be a number from 1e-05 to 10"):
        recipe_options("soft_prompt", {"learning_rate": "1e6"})


LARGE, SMALL, T5 = {"parameters": 500_000_000, "family": "llama"}, {"parameters": 20_000_000, "family": "llama"}, {"family": "t5"}


@pytest.mark.parametrize(
    ("key", "facts", "rate"),
    [("lora", SMALL, 2e-3), ("lora", {}, 2e-3), ("dora", LARGE, 2e-4), ("full", SMALL, 1e-4), ("full", LARGE, 2e-5), ("hybrid", T5, 0.3)],
)
def test_a_rate_that_nobody_sets_goes_by_the_model(key, facts, rate):
    assert recipe_options(key, {"learning_rate": ""}, facts)["learning_rate"] == rate


def test_a_rate_that_somebody_sets_stands_with_its_own_optimizer():
    assert recipe_options("lora", {"learning_rate": 2e-3}, LARGE)["learning_rate"] == 2e-3
    set_by_hand = recipe_options("soft_prompt", {"learning_rate": 0.05, "optimizer": "adamw"}, T5)
    assert (set_by_hand["learning_rate"], set_by_hand["optimizer"], set_by_hand["schedule"]) == (0.05, "adamw", "linear")


def test_an_optimizer_that_a_form_sends_at_its_default_goes_by_the_model():
    options = recipe_options("soft_prompt", {"optimizer": "adamw", "schedule": "linear"}, T5)

    assert (options["optimizer"], options["schedule"]) == ("adafactor", "constant")


def test_unknown_choices_options_and_approaches_are_refused():
    with pytest.raises(UserError, match="must be one of template, label_words, vocabulary and random"):
        recipe_options("soft_prompt", {"init": "luck"})
    with pytest.raises(UserError, match="LoRA has no option “ranks”"):
        recipe_options("lora", {"ranks": 3})
    with pytest.raises(UserError, match="There is no approach “magic”"):
        recipe_get("magic")


def test_what_makes_an_approach_cannot_be_turned_into_another():
    with pytest.raises(UserError, match="Soft prompt: written prompt is “kept”"):
        recipe_options("soft_prompt", {"template_text": "kept"})


def test_approaches_say_of_the_written_prompt_what_the_engine_keeps_of_it():
    """The engine leaves out the text before the row and nothing else (`TemplateSpec.bare`)."""
    for kind in CATALOGUE.values():
        place = kind.default_of("template_text")
        words = [text for option in kind.options if option.name == "template_text" for _, text in option.choices]
        assert "place of the written prompt" not in kind.help
        assert words == {"kept": ["all of it stays"]}.get(str(place), words)
        assert place != "replaced" or words[0].endswith("what follows the row stays")

"""Which approaches a choice means, and which prompt each of them takes."""

import pytest

from experiments.catalogue.recipes import PACK
from experiments.planning.approach_choice import Choice, approaches_expand
from tests import factories

pytestmark = pytest.mark.django_db


def test_each_prompt_is_compared_as_written_and_one_starts_the_tuned(workspace):
    plain, shown = [
        factories.make_template_version(workspace, name=name, demonstrations=examples)
        for name, examples in (("Plain", []), ("Shown", [{"example": None, "fields": {"text": "x"}, "label": "refund"}]))
    ]
    choice = Choice(factories.make_dataset_version(workspace), PACK, [shown, plain], factories.make_backbone())

    approaches, notes = approaches_expand(choice=choice)

    assert [approach.shown_name for approach in approaches[:5]] == [
        "Zero-shot: Plain v1",
        "Few-shot: Shown v1",
        "Soft prompt",
        "Hybrid",
        "LoRA",
    ]
    assert {approach.template_version for approach in approaches[2:]} == {plain}
    assert notes == []


def test_extraction_has_no_plain_baselines(workspace):
    version = factories.make_dataset_version(workspace, task="extraction", labels=[])
    choice = Choice(version, ["zero_shot"], [factories.make_template_version(workspace)], factories.make_backbone())

    assert [approach.recipe for approach in approaches_expand(choice=choice)[0]] == ["zero_shot"]


def test_drawn_examples_a_bias_and_a_search_start_from_the_prompt_without_examples(workspace):
    plain, shown = [
        factories.make_template_version(workspace, name=name, demonstrations=examples)
        for name, examples in (("Plain", []), ("Shown", [{"example": None, "fields": {"text": "x"}, "label": "refund"}]))
    ]
    recipes = ["few_shot_random", "few_shot_balanced", "few_shot_nearest", "label_bias", "prompt_search"]
    choice = Choice(factories.make_dataset_version(workspace), recipes, [shown, plain], factories.make_backbone())

    approaches, _ = approaches_expand(choice=choice)

    assert {approach.template_version for approach in approaches[:5]} == {plain}

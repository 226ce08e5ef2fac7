"""How free answers are written: the pages' rules and the engine's say the same."""

from dataclasses import asdict
from typing import Any

import pytest

from experiments.catalogue.generation import RANGES, GenerationPlan
from workers.engine.contract.answer_rules import AnswerFormat, Generation
from workers.engine.errors import BadSpec


def test_both_have_the_same_rules_with_the_same_defaults():
    assert asdict(GenerationPlan()) == asdict(Generation()) | asdict(AnswerFormat())


@pytest.mark.parametrize("name", ["max_new_tokens", "temperature", "top_p", "seed"])
def test_the_engine_takes_what_the_pages_allow_and_nothing_beyond(name):
    low, high = RANGES[name]
    taken: Any = Generation
    taken(**{name: high})
    if name != "top_p":
        taken(**{name: low})
    for beyond in (low - 1, high + 1):
        with pytest.raises(BadSpec):
            taken(**{name: beyond})

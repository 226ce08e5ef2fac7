"""What the evaluation tunes is a run of the engine, and a folder that plain PEFT reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from workers.starter import evaluation_tasks, scoring, tuning

MODEL = evaluation_tasks.HERE / "model"
OPTIONS = ("refund", "transfer")
TEXTS = {"refund": "give me my money back number {}", "transfer": "send this to my brother number {}"}


def _prompt(text: str) -> str:
    # The names stand for something else than they say, so that it takes training to know them.
    return f"Which letter fits?\nOptions: a, b\nMessage: {text}\nLetter:"


@pytest.mark.slow
@pytest.mark.parametrize("name", tuning.RECIPES)
def test_what_was_tuned_answers_through_plain_peft(name: str, tmp_path: Path) -> None:
    answers = dict(zip(OPTIONS, ("a", "b"), strict=True))
    rows = [tuning.Example(_prompt(TEXTS[option].format(n)), answers[option]) for n in range(20) for option in OPTIONS]
    recipe = tuning.RECIPES[name]
    quick = replace(recipe, options={**recipe.options, "max_steps": 20, "evaluate_every": 20, "warmup_steps": 2})
    tuned = tuning.tune(MODEL, quick, rows, ("a", "b"), 0, tmp_path)
    said = scoring.choices(
        tuned.model.get_base_model(), AutoTokenizer.from_pretrained(MODEL), [row.prompt for row in rows], [("a", "b")] * len(rows),
        front=tuning.front_of(tuned.model),
    )  # fmt: skip
    assert sum(answer == row.answer for answer, row in zip(said, rows, strict=True)) >= 36
    assert tuned.seconds > 0

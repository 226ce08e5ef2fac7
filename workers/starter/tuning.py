"""Tunes the starter on labelled prompts with the engine, as a run of the product does, for the evaluation.

Knows the engine's spec and the folders that PEFT reads; must not know which data it is given. What was tuned is read back by plain
PEFT, so the evaluation answers with what anybody gets who loads the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from workers.engine.contract.recipes import OptionValue
from workers.engine.contract.spec import BackboneRef, FileRef, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.execute import execute
from workers.engine.run import Run
from workers.starter import scoring

STEPS = 320
_START = "read what the customer wrote and answer with the one queue that fits the message best"
# One look, at the end, on the fewest train rows that may be set aside: all others teach.
_TRAINING: dict[str, OptionValue] = {
    "max_steps": STEPS, "batch_size": 16, "warmup_steps": 20, "evaluate_every": STEPS, "chosen_on": "inner", "inner_share": 0.01,
}  # fmt: skip
_VECTORS: dict[str, OptionValue] = {"num_virtual_tokens": 20, "init": "template", "init_text": _START}
# Everything else is what a comparison takes where nobody sets it.
RECIPES: dict[str, Recipe] = {
    "soft prompt": Recipe("prompt_tuning", _TRAINING | _VECTORS),
    "prefix": Recipe("prefix_tuning", _TRAINING | _VECTORS),
    "LoRA r=8": Recipe("lora", _TRAINING | {"rank": 8}),
}


class Example(NamedTuple):
    prompt: str
    answer: str


class Tuned(NamedTuple):
    """The tuned model in fp32 and the seconds that training took."""

    model: PeftModel
    seconds: float


def tune(folder: Path, recipe: Recipe, rows: Iterable[Example], options: tuple[str, ...], seed: int, out: Path) -> Tuned:
    """Train on the rows, the written prompt kept in front of each, and load what was learned with PEFT alone.

    Args:
        folder: the starter's.
        options: every answer there is.
        out: an empty folder for what the run leaves.
    """
    spec = RunSpec(
        id=f"starter-{recipe.method}-{seed}",
        backbone=BackboneRef(str(folder)),
        template=TemplateSpec("{{prompt}}"),
        labels=options,
        recipe=recipe,
        seed=seed,
        train=_file(out / "train.jsonl", rows),
        evaluate=(),
    )
    result = execute(Run(spec, out))
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Tuned(PeftModel.from_pretrained(base, str(out / "artifact")).eval(), result.timings["train"])


def _file(path: Path, rows: Iterable[Example]) -> FileRef:
    lines = [json.dumps({"id": str(place), "fields": {"prompt": row.prompt}, "label": row.answer}) for place, row in enumerate(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return FileRef(str(path))


@torch.inference_mode()
def front_of(model: PeftModel) -> scoring.Front | None:
    """What the tuned part puts in front of every row; None for methods that change the layers instead."""
    kind = model.active_peft_config.peft_type.value
    if kind == "PROMPT_TUNING":
        return scoring.front_of_vectors(model.get_base_model(), model.get_prompt(1)[0])
    if kind == "PREFIX_TUNING":
        return scoring.front_of(model.get_prompt(1))
    return None

"""Tunes the starter with plain PEFT calls on labelled prompts, for the evaluation.

Knows PEFT and the answer loss; must not know which data it is given. This is the plain computation, on purpose
without the engine's short cuts.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from peft import LoraConfig, PeftConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from workers.engine.runtime import choose_dtype
from workers.starter import scoring

BATCH = 16
STEPS = 240
VIRTUAL_TOKENS = 20


class Method(NamedTuple):
    config: PeftConfig
    rate: float


def methods(folder: Path) -> dict[str, Method]:
    """PEFT configurations; the soft prompt starts from words, whose scale suits the embeddings."""
    soft_prompt = PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=VIRTUAL_TOKENS,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text="read what the customer wrote and answer with the one queue that fits the message best",
        tokenizer_name_or_path=str(folder),
    )
    return {
        "soft prompt": Method(soft_prompt, rate=1e-2),
        "prefix": Method(PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL_TOKENS), rate=1e-2),
        "LoRA r=8": Method(
            LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["query", "key", "value", "dense"]),
            rate=2e-3,
        ),
    }


class Example(NamedTuple):
    prompt: list[int]
    answer: list[int]  # label tokens and the terminator


def examples(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], answers: Sequence[str]) -> list[Example]:
    prompt_ids = tokenizer(list(prompts))["input_ids"]
    answer_ids = scoring.label_tokens(tokenizer, answers)
    return [Example(p, a) for p, a in zip(prompt_ids, answer_ids, strict=True)]


def _batches(rows: Sequence[Example], steps: int, rng: random.Random) -> list[list[Example]]:
    """Random batches of rows of similar length, so that little is padded and few positions are projected."""
    made: list[list[Example]] = []
    while len(made) < steps:
        window = sorted(rng.sample(rows, min(len(rows), BATCH * 24)), key=lambda row: len(row.prompt))
        parts = [window[start : start + BATCH] for start in range(0, len(window) - BATCH + 1, BATCH)]
        rng.shuffle(parts)
        made += parts
    return made[:steps]


def _loss(model: PeftModel, rows: list[Example], padding: int) -> Tensor:
    length = max(len(row.prompt) + len(row.answer) for row in rows)
    ids = torch.full((len(rows), length), padding)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    targets = torch.full((len(rows), length), -100)
    for index, row in enumerate(rows):
        whole = row.prompt + row.answer
        ids[index, : len(whole)] = torch.tensor(whole)
        mask[index, : len(whole)] = 1
        targets[index, len(row.prompt) : len(whole)] = torch.tensor(row.answer)
    kept = length - min(len(row.prompt) for row in rows) + 1
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=kept).logits.float()
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1 - kept :].flatten())


def tune(folder: Path, method: Method, rows: Sequence[Example], seed: int) -> tuple[PeftModel, float]:
    """The tuned model in fp32 and the seconds that tuning took, with the frozen weights in bf16 where the machine multiplies it fast."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=choose_dtype("auto", torch.device("cpu")))
    model = get_peft_model(base, method.config)
    model.train()
    tuned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(tuned, lr=method.rate, weight_decay=0.0)
    start = time.monotonic()
    for step, batch in enumerate(_batches(rows, STEPS, random.Random(seed))):
        share = step / STEPS
        for group in optimizer.param_groups:
            group["lr"] = method.rate * min(1.0, (step + 1) / 20) * (1 - share)
        torch.autograd.backward(_loss(model, batch, base.config.pad_token_id))
        torch.nn.utils.clip_grad_norm_(tuned, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.monotonic() - start
    return model.float().eval(), seconds


@torch.inference_mode()
def front_of(model: PeftModel) -> scoring.Front | None:
    """What the tuned part puts in front of every row; None for methods that change the layers instead."""
    kind = model.active_peft_config.peft_type.value
    if kind == "PROMPT_TUNING":
        return scoring.front_of_vectors(model.get_base_model(), model.get_prompt(1)[0])
    if kind == "PREFIX_TUNING":
        return scoring.front_of(model.get_prompt(1))
    return None

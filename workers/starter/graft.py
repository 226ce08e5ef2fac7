"""Before `train`: MiniLM's whole encoder learns to mean what it meant without seeing what comes after, below an earlier starter's top.

    python -m workers.starter.graft --data DIR --minilm DIR --previous DIR --out DIR --minutes 15

Its six blocks are taught two things at once: MiniLM's own vectors at the ends of texts, options and answer cues, and at every
position the state behind the earlier model's fourth block, which the two last blocks and the head taken over from there read.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import AttentionInterface, BertLMHeadModel, PreTrainedTokenizerFast

from workers.starter import backbone, batches, train
from workers.starter.helping import Readers

TOP = 2  # blocks taken over from the earlier model
RATE = 5e-4
APART_WEIGHT = 0.1
LIKENESS_WEIGHT = 0.5
MICRO_BATCHES = 2


def states_behind(model: BertLMHeadModel, batch: batches.Batch, blocks: int) -> Tensor:
    """[rows, length, width]: what the first blocks make of the batch; the others are not run."""
    whole = model.bert.encoder.layer
    model.bert.encoder.layer = whole[:blocks]
    try:
        found: Tensor = model.bert(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).last_hidden_state
    finally:
        model.bert.encoder.layer = whole
    return found


def loss_of(model: BertLMHeadModel, previous: BertLMHeadModel, readers: Readers, batch: batches.Batch) -> Tensor:
    trunk, below = len(model.bert.encoder.layer) - TOP, len(previous.bert.encoder.layer) - TOP
    with torch.no_grad():
        goal = states_behind(previous, batch, below)
    states = states_behind(model, batch, trunk)
    real = batch.ids != model.config.pad_token_id
    unlike = (states - goal)[real].pow(2).mean(0) / goal[real].var(0)
    distance, apart = readers.distances(states.flatten(0, 1)[batch.meant_at], batch.meanings)
    return distance.mean() + APART_WEIGHT * apart.mean() + LIKENESS_WEIGHT * unlike.mean()


def rate_at(progress: float) -> float:
    """Warm-up, a plateau, then down to a twentieth."""
    return RATE * min(1, progress / 0.03) * max(0.05, 1 - max(0.0, progress - 0.3) / 0.7)


def teach(model: BertLMHeadModel, previous: BertLMHeadModel, readers: Readers, stream: Iterator[batches.Batch], minutes: float) -> None:
    learning = [*model.bert.parameters(), *readers.parameters()]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), fused=True)
    meter = train.Meter(("loss",))
    for step in itertools.count(1):
        if (progress := meter.minutes() / minutes) >= 1:
            return
        for batch in itertools.islice(stream, MICRO_BATCHES):
            loss = loss_of(model, previous, readers, batch) / MICRO_BATCHES
            torch.autograd.backward(loss)
            meter.add(batch.ids.numel(), (float(loss.detach()) * MICRO_BATCHES,))
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(progress)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            print(meter.line(step), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with starter/*.jsonl.gz")
    parser.add_argument("--minilm", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--previous", type=Path, required=True, help="folder of an earlier starter")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    AttentionInterface.register("short", train.short_attention)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    source, _ = train.load_source(given.data, given.minilm, given.out.parent)
    previous = BertLMHeadModel.from_pretrained(given.previous, dtype=torch.float32, attn_implementation="short")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(given.previous)
    model = backbone.grafted(given.minilm, previous, tokenizer, TOP)
    model.set_attn_implementation("short")
    known, vectors = source.bank.meanings()
    readers = Readers(model.bert.embeddings.word_embeddings.weight, torch.from_numpy(vectors), tokenizer.pad_token_id)
    teach(model, previous, readers, batches.batches(source.draw, tokenizer, random.Random(given.seed), known), given.minutes)
    backbone.save(given.out, model, tokenizer)


if __name__ == "__main__":
    main()

"""Trains the starter backbone: MiniLM's weights, made causal, then prompts with answers for a fixed wall time.

    python -m workers.starter.train --data DIR --minilm DIR --out DIR --minutes 65

Knows the loop and the order of things; data, wording and shapes are in the modules beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, BertLMHeadModel, PreTrainedTokenizerFast

from workers.starter import backbone, batches, episodes, matching, naming, sources
from workers.starter.helping import Help, Readers, Sizes

PEAK_RATE = 4e-4
FLOOR = 0.02  # of the peak, at the end of the budget
WARM_UP = 0.03  # of the budget
MICRO_BATCHES = 3
AVERAGE = 0.998
SHORT = 192  # up to here plain matrix products beat the fused attention kernel on this kind of processor
PHRASES = (7000, 36_000, 24_000)
MEANING_LAYER = 6  # of eight: its states are taught meanings, so that two layers are left to compare and to copy


def short_attention(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> tuple[Tensor, None]:
    """Causal attention without dropout or padding mask; the faster of two equal computations for the length."""
    rows, heads, length, width = query.shape
    if length > SHORT:
        out = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return out.transpose(1, 2).contiguous(), None
    blocked = torch.full((length, length), -1e4, dtype=query.dtype).triu(1).expand(rows * heads, -1, -1)
    scores = torch.baddbmm(blocked, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=width**-0.5)
    out = torch.bmm(scores.softmax(-1), value.flatten(0, 1)).view(rows, heads, length, width)
    return out.transpose(1, 2).contiguous(), None


def load_source(data: Path, minilm: Path, cache: Path) -> tuple[episodes.EpisodeSource, list[str]]:
    """The source of episodes and every training text (for the vocabulary). Embeddings are kept in cache."""
    tasks = sources.all_t0_tasks(data)
    intents = sources.clinc_rows(data, "train", held_out=False)
    trained = sources.trained_tasks(tasks)
    reviews = sources.review_rows(trained)
    texts = sources.sentences(tasks) + [row.text for row in intents]
    forbidden = naming.held_out_names()
    mined = matching.mine_phrases(texts, forbidden=forbidden, limits=PHRASES)
    phrases = mined + matching.compound_phrases(mined, 2500, random.Random(7), forbidden=forbidden)
    phrases = list(dict.fromkeys(phrases + naming.trained_names()))
    vectors = [_cached_vectors(cache, minilm, part) for part in (texts, phrases)]
    bank = matching.MatchingBank(texts, phrases, *vectors, requests=len(intents))
    every = texts + phrases + [f"{t.prompt} {t.completion}" for rows in tasks.values() for t in rows]
    return episodes.EpisodeSource(bank, intents, reviews, trained), every


def _cached_vectors(cache: Path, minilm: Path, texts: list[str]) -> matching.Matrix:
    """Embeddings of the texts, computed once; the file's name tells which texts they belong to."""
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
    file = cache / f"embeddings-{digest}.npy"
    if not file.exists():
        np.save(file, matching.embed(minilm, texts))
    vectors: matching.Matrix = np.load(file)
    return vectors


def sizes_of(parts: Sequence[batches.Batch]) -> Sizes:
    weight = float(sum(part.weights.sum() for part in parts))
    meanings, points, copies = (max(1, sum(len(getattr(part, of)) for part in parts)) for of in ("meanings", "points", "copies"))
    return Sizes(weight, meanings, points, copies, len(parts))


class Trainer:
    """bf16 weights for the passes, fp32 masters for the updates, and a running average for the result."""

    def __init__(self, model: BertLMHeadModel, meanings: Tensor, dtype: torch.dtype, peak_rate: float = PEAK_RATE) -> None:
        """meanings: [count, width] unit vectors of the sentence encoder; dtype: of the passes."""
        self.peak_rate = peak_rate
        self.readers = Readers(model.bert.embeddings.word_embeddings.weight, meanings, model.config.pad_token_id)
        model.set_attn_implementation("short")
        self.masters = [p.detach().clone().float().requires_grad_() for p in model.parameters()]
        self.model = model.to(dtype).train()
        self.params = list(self.model.parameters())
        decayed = [m for m in self.masters if m.ndim > 1]
        plain = [m for m in self.masters if m.ndim <= 1]
        plain += self.readers.parameters()
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=peak_rate, betas=(0.9, 0.98), fused=True)
        self.average = [m.detach().clone() for m in self.masters]
        self.steps = 0

    def gradients(self, batch: batches.Batch, sizes: Sizes) -> tuple[float, ...]:
        """Adds the batch's gradients; returns (answer loss, share of right answer tokens, the four losses of `Help`)."""
        found = self.model.bert(input_ids=batch.ids, position_ids=batch.positions, use_cache=False, output_hidden_states=True)
        logits = self.model.cls(found.last_hidden_state.flatten(0, 1)[batch.where]).float()
        losses = functional.cross_entropy(logits, batch.targets, reduction="none") * batch.weights
        attention = self.model.bert.encoder.layer[MEANING_LAYER].attention.self
        helped = self.readers.help(found.hidden_states[MEANING_LAYER], attention, batch)
        torch.autograd.backward(losses.sum() / sizes.weight + helped.weighted(sizes))
        answers = batch.weights > batches.PROMPT_WEIGHT
        right = (logits.argmax(-1) == batch.targets)[answers].float().mean()
        answer_loss = losses.detach()[answers].sum() / batch.weights[answers].sum()
        return float(answer_loss), float(right), *(float(loss.detach().mean()) for loss in helped)

    def update(self, rate_share: float) -> None:
        for param, master in zip(self.params, self.masters, strict=True):
            master.grad = None if param.grad is None else param.grad.float()
            param.grad = None
        torch.nn.utils.clip_grad_norm_(self.masters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak_rate * rate_share
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        with torch.no_grad():
            torch._foreach_copy_(self.params, self.masters)
            keep = min(AVERAGE, self.steps / (self.steps + 20))
            torch._foreach_lerp_(self.average, self.masters, 1 - keep)

    def averaged(self) -> dict[str, Tensor]:
        names = [name for name, _ in self.model.named_parameters()]
        return dict(zip(names, self.average, strict=True))


def rate_share(progress: float) -> float:
    """Of the peak rate: warm-up, then a straight line down to the floor at the end of the wall-time budget."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return max(FLOOR, 1 - (progress - WARM_UP) / (1 - WARM_UP) * (1 - FLOOR))


def write_folder(out: Path, trainer: Trainer, tokenizer: PreTrainedTokenizerFast) -> None:
    """Writes beside the target and swaps by renaming, so that a reader never sees half a folder."""
    fresh, old = out.with_name(out.name + ".new"), out.with_name(out.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    backbone.save(fresh, trainer.model, tokenizer, trainer.averaged())
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)


class Meter:
    """Running figures of the last micro-batches, printed as one JSON line."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.start = time.monotonic()
        self.tokens = 0
        self.recent: deque[tuple[float, ...]] = deque(maxlen=200)

    def minutes(self) -> float:
        return (time.monotonic() - self.start) / 60

    def add(self, tokens: int, figures: tuple[float, ...]) -> None:
        self.tokens += tokens
        self.recent.append(figures)

    def line(self, step: int) -> str:
        means = (round(float(np.nanmean(column)), 4) for column in zip(*self.recent, strict=True))
        minutes = self.minutes()
        counts = {"step": step, "minutes": round(minutes, 2), "tokens": self.tokens, "speed": round(self.tokens / minutes / 60)}
        return json.dumps(counts | dict(zip(self.names, means, strict=True)))


def train(trainer: Trainer, stream: Iterator[batches.Batch], minutes: float, save: Callable[[], None], save_every: float) -> None:
    """Updates until the wall time is used up, saving now and then and at the end."""
    meter, saved = Meter(("loss", "right", *Help._fields)), 0.0
    for step in itertools.count(1):
        progress = meter.minutes() / minutes
        if progress >= 1:
            break
        parts = list(itertools.islice(stream, MICRO_BATCHES))
        sizes = sizes_of(parts)
        for part in parts:
            meter.add(part.ids.numel(), trainer.gradients(part, sizes))
        trainer.update(rate_share(progress))
        if step % 25 == 0:
            print(meter.line(step), flush=True)
        if meter.minutes() - saved > save_every:
            save()
            saved = meter.minutes()
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with starter/*.jsonl.gz")
    parser.add_argument("--minilm", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=65.0)
    parser.add_argument("--peak-rate", type=float, default=PEAK_RATE)
    parser.add_argument("--save-every", type=float, default=10.0, help="minutes")
    parser.add_argument("--start-from", type=Path, help="an earlier result, instead of MiniLM's weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--dtype", default="bfloat16", choices=("bfloat16", "float32"), help="of the passes; float32 where bf16 is emulated"
    )
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    AttentionInterface.register("short", short_attention)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    source, texts = load_source(given.data, given.minilm, given.out.parent)
    if given.start_from:
        model = BertLMHeadModel.from_pretrained(given.start_from, dtype=torch.float32, use_cache=False)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(given.start_from)
    else:
        model, tokenizer = backbone.from_minilm(given.minilm, texts)
    known, vectors = source.bank.meanings()
    stream = batches.batches(source.draw, tokenizer, random.Random(given.seed), known)
    trainer = Trainer(model, torch.from_numpy(vectors), getattr(torch, given.dtype), given.peak_rate)
    train(trainer, stream, given.minutes, lambda: write_folder(given.out, trainer, tokenizer), given.save_every)


if __name__ == "__main__":
    main()

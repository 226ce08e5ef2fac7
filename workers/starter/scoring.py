"""Scores label words after a prompt: the summed log-likelihood of the label's tokens and the terminator.

Knows models and tokens; must not know tasks. All labels of a row are laid behind its prompt in one sequence, each
seeing only what stands in front and itself (a 4-D attention mask), so a row costs one forward pass. What stands in
front of every row (demonstrations, a soft prompt, a tuned prefix) is computed once, as a Front.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import BertLMHeadModel, DynamicCache, PreTrainedTokenizerFast

Front = list[tuple[Tensor, Tensor]]  # keys and values of each layer, one row
_BLOCKED = -1e4


def label_tokens(tokenizer: PreTrainedTokenizerFast, labels: Sequence[str]) -> list[list[int]]:
    """Each label's tokens with the terminator behind."""
    encoded = tokenizer(list(labels), add_special_tokens=False)["input_ids"]
    return [[*tokens, tokenizer.eos_token_id] for tokens in encoded]


def front_of(cache: DynamicCache) -> Front:
    return [(layer.keys[:1], layer.values[:1]) for layer in cache.layers]


@torch.inference_mode()
def front_of_tokens(model: BertLMHeadModel, ids: list[int], before: Front | None = None) -> Front:
    """What the tokens leave in front of every row, themselves behind another front where one is given."""
    cache = cache_of(before, 1) if before else None
    return front_of(model(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True, logits_to_keep=1).past_key_values)


@torch.inference_mode()
def front_of_vectors(model: BertLMHeadModel, vectors: Tensor) -> Front:
    """vectors: one row of embeddings, as a soft prompt has."""
    ready = vectors.to(model.dtype).unsqueeze(0)
    return front_of(model(inputs_embeds=ready, use_cache=True, logits_to_keep=1).past_key_values)


def cache_of(front: Front, rows: int) -> DynamicCache:
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(front):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
    return cache


def shared_tokens(encoded: Sequence[list[int]]) -> int:
    """How many tokens all prompts begin with; at least one of each is left for itself."""
    first, last = min(encoded), max(encoded)
    length = min(map(len, encoded)) - 1
    return next((place for place in range(length) if first[place] != last[place]), length)


def _layout(prompts: list[list[int]], tails: list[list[list[int]]], padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """(ids, positions, who sees whom) for prompts followed by the inputs of all their labels."""
    inputs = [p + [t for tail in group for t in tail[:-1]] for p, group in zip(prompts, tails, strict=True)]
    length = max(map(len, inputs))
    ids = torch.full((len(inputs), length), padding)
    positions = torch.zeros(len(inputs), length, dtype=torch.long)
    seen = torch.eye(length, dtype=torch.bool).repeat(len(inputs), 1, 1)
    for row, (prompt, group) in enumerate(zip(prompts, tails, strict=True)):
        ids[row, : len(inputs[row])] = torch.tensor(inputs[row])
        size = start = len(prompt)
        positions[row, :size] = torch.arange(size)
        seen[row, :size, :size] = torch.ones(size, size, dtype=torch.bool).tril()
        for tail in group:
            stop = start + len(tail) - 1
            positions[row, start:stop] = size + torch.arange(stop - start)
            seen[row, start:stop, :size] = True
            seen[row, start:stop, start:stop] = torch.ones(stop - start, stop - start, dtype=torch.bool).tril()
            start = stop
    return ids, positions, seen


@torch.inference_mode()
def label_scores(
    model: BertLMHeadModel, prompts: list[list[int]], tails: list[list[list[int]]], *, front: Front | None = None
) -> list[list[float]]:
    """Scores per row and label."""
    ids, positions, seen = _layout(prompts, tails, model.config.pad_token_id)
    width = front[0][0].shape[2] if front else 0
    visible = torch.cat([torch.ones(*seen.shape[:2], width, dtype=torch.bool), seen], dim=2).unsqueeze(1)
    mask = torch.zeros(visible.shape, dtype=model.dtype).masked_fill(~visible, _BLOCKED)
    states = model.bert(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions + width,
        past_key_values=cache_of(front, len(ids)) if front else None,
        use_cache=front is not None,
    ).last_hidden_state
    return [_row_scores(model, states[row], len(prompt), tails[row]) for row, prompt in enumerate(prompts)]


def _row_scores(model: BertLMHeadModel, states: Tensor, prompt: int, tails: list[list[int]]) -> list[float]:
    places: list[int] = []
    start = prompt
    for tail in tails:
        places += [prompt - 1, *range(start, start + len(tail) - 1)]
        start += len(tail) - 1
    distinct, back = torch.unique(torch.tensor(places), return_inverse=True)
    logits = model.cls(states[distinct]).float().log_softmax(-1)
    targets = torch.tensor([token for tail in tails for token in tail])
    return [float(part.sum()) for part in logits[back, targets].split([len(tail) for tail in tails])]


def choices(
    model: BertLMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    labels: Sequence[Sequence[str]],
    *,
    front: Front | None = None,
    batch: int = 16,
) -> list[str]:
    """The best-scoring label of each prompt; with a front of tokens the start token is already there."""
    encoded = tokenizer(list(prompts))["input_ids"]
    return choices_of_tokens(model, tokenizer, encoded, labels, front=front, batch=batch)


def choices_of_tokens(
    model: BertLMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    encoded: list[list[int]],
    labels: Sequence[Sequence[str]],
    *,
    front: Front | None = None,
    batch: int = 16,
) -> list[str]:
    """The best-scoring label of each tokenized prompt; what all of them begin with is computed once, rows of similar length together."""
    if shared := shared_tokens(encoded):
        front = front_of_tokens(model, encoded[0][:shared], front)
        encoded = [ids[shared:] for ids in encoded]
    tails = [label_tokens(tokenizer, names) for names in labels]
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
    chosen = [""] * len(encoded)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        scores = label_scores(model, [encoded[r] for r in rows], [tails[r] for r in rows], front=front)
        for row, values in zip(rows, scores, strict=True):
            chosen[row] = labels[row][values.index(max(values))]
    return chosen

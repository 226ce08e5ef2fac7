"""Episodes to token batches of a few fixed shapes.

Knows tokens, targets and shapes; must not know where episodes come from. Fixed shapes keep the heap small and the
processor busy: each micro-batch has about BATCH_TOKENS tokens, in one of the LENGTHS, with exactly that many rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from workers.starter.backbone import WINDOW
from workers.starter.episodes import Episode

BATCH_TOKENS = 2048
LENGTHS = (32, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)
PROMPT_SHARE = 0.05  # of the prompt positions also get a loss, so that the model stays a language model
PROMPT_WEIGHT = 0.2
LONG_ANSWER = 12  # tokens; longer answers weigh less, so that one paragraph does not outweigh many labels
NO_TARGET = -100


class Sequence(NamedTuple):
    ids: list[int]
    targets: list[int]  # the token that each position must predict; after a label the terminator
    weights: list[float]
    meanings: dict[int, int]  # position: index of the sentence vector that the state there is taught to mean
    points: list[tuple[int, int, int]]  # position that predicts an answer, first token of its listed option, token behind it
    copies: list[tuple[int, int]]  # position that predicts a further token of an answer or its end, where that stands in the listed option
    options: list[tuple[int, int]]  # first and last position of every listed option


class Batch(NamedTuple):
    ids: Tensor
    positions: Tensor
    where: Tensor  # flat positions that have a target
    targets: Tensor
    weights: Tensor
    meant_at: Tensor  # flat positions that are taught a meaning
    meanings: Tensor  # indices of the sentence vectors
    points: Tensor  # [answers, 4]: row, position that predicts the answer, first token of its listed option, token behind it
    copies: Tensor  # [further tokens, 4]: the same for the one token that comes next
    options: Tensor  # [listed options, 2]: flat positions of their first and last token


def encode(episode: Episode, tokenizer: PreTrainedTokenizerFast, rng: random.Random, vectors: Mapping[str, int]) -> Sequence | None:
    """Tokens, targets and meanings (indices from `vectors`), or None if the episode does not fit: nothing is ever cut off."""
    pieces = [piece for piece in episode if piece.text]
    encoded = tokenizer([piece.text for piece in pieces], add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token_id
    ids = [tokenizer.bos_token_id]
    targets: dict[int, int] = {}
    weights: dict[int, float] = {}
    meanings: dict[int, int] = {}
    spans: dict[str, tuple[int, int]] = {}
    points: list[tuple[int, int, int]] = []
    copies: list[tuple[int, int]] = []
    options: list[tuple[int, int]] = []
    for piece, tokens in zip(pieces, encoded, strict=True):
        if piece.listed:
            spans[piece.text] = (len(ids), len(ids) + len(tokens))
            options.append((len(ids), len(ids) + len(tokens) - 1))
        if piece.answer:
            if piece.text in spans:
                first, behind = spans[piece.text]
                points.append((len(ids) - 1, first, behind))
                copies += [(len(ids) + offset, first + offset + 1) for offset in range(behind - first)]
            weight = min(1.0, LONG_ANSWER / (len(tokens) + 1))
            for offset, token in enumerate([*tokens, end]):
                targets[len(ids) - 1 + offset] = token
                weights[len(ids) - 1 + offset] = weight
        ids += tokens
        if piece.means is not None and piece.means in vectors:
            meanings[len(ids) - 1] = vectors[piece.means]
    if len(ids) > WINDOW or not targets:
        return None
    for place in range(len(ids) - 1):
        if place not in targets and rng.random() < PROMPT_SHARE:
            targets[place], weights[place] = ids[place + 1], PROMPT_WEIGHT
    places = range(len(ids))
    aims = [targets.get(i, NO_TARGET) for i in places]
    return Sequence(ids, aims, [weights.get(i, 0.0) for i in places], meanings, points, copies, options)


def first_position(length: int, rng: random.Random) -> int:
    """Where the sequence starts: mostly 0; else further on, as behind virtual tokens, anywhere in the window."""
    room = WINDOW - length
    kind = rng.random()
    if kind < 0.55:
        return 0
    return rng.randint(0, min(room, 128) if kind < 0.85 else room)


def collate(rows: list[Sequence], length: int, padding: int, rng: random.Random) -> Batch:
    """Right-padded; a causal model's real tokens never see the padding, so no mask is needed."""
    ids = torch.full((len(rows), length), padding)
    targets = torch.full((len(rows), length), NO_TARGET)
    weights = torch.zeros(len(rows), length)
    starts = torch.tensor([[first_position(length, rng)] for _ in rows])
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        targets[index, : len(row.ids)] = torch.tensor(row.targets)
        weights[index, : len(row.ids)] = torch.tensor(row.weights)
    where = (targets.view(-1) != NO_TARGET).nonzero().squeeze(-1)
    meant = [(index * length + place, meaning) for index, row in enumerate(rows) for place, meaning in row.meanings.items()]
    meant_at, meanings = torch.tensor(meant, dtype=torch.long).view(-1, 2).unbind(1)
    points = torch.tensor([(index, *point) for index, row in enumerate(rows) for point in row.points], dtype=torch.long).view(-1, 4)
    copies = [(index, asking, place, place + 1) for index, row in enumerate(rows) for asking, place in row.copies]
    options = [(index * length + first, index * length + last) for index, row in enumerate(rows) for first, last in row.options]
    return Batch(
        ids=ids,
        positions=starts + torch.arange(length),
        where=where,
        targets=targets.view(-1)[where],
        weights=weights.view(-1)[where],
        meant_at=meant_at,
        meanings=meanings,
        points=points,
        copies=torch.tensor(copies, dtype=torch.long).view(-1, 4),
        options=torch.tensor(options, dtype=torch.long).view(-1, 2),
    )


def batches(
    draw: Callable[[random.Random], Episode], tokenizer: PreTrainedTokenizerFast, rng: random.Random, vectors: Mapping[str, int]
) -> Iterator[Batch]:
    """Endless micro-batches: sequences wait in the bucket of their length until it has its exact number of rows."""
    waiting: dict[int, list[Sequence]] = {length: [] for length in LENGTHS}
    while True:
        sequence = encode(draw(rng), tokenizer, rng, vectors)
        if sequence is None:
            continue
        length = next(length for length in LENGTHS if length >= len(sequence.ids))
        waiting[length].append(sequence)
        if len(waiting[length]) == max(1, BATCH_TOKENS // length):
            yield collate(waiting[length], length, tokenizer.pad_token_id, rng)
            waiting[length] = []

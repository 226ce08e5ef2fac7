"""Rows -> padded batches: length buckets, positions and masks. All shapes are written down here; knows no model.

Padding always stands on the right. A pad between a prompt and its text would shift positions and, in prompt learning,
would be attended to; on the right it is seen by nothing that is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.engine.passes.answers import AnswerTrie

# Few distinct lengths keep the allocator on blocks it already holds.
LENGTH_STEP = 4
# Matrix products over fewer tokens leave a thread's arithmetic waiting for the weights.
_LEAST_TOKENS = 64
_WINDOW_BATCHES = 8


@dataclass(frozen=True)
class Batch:
    """Rows after their shared prefix, padded on the right.

    Args:
        ids: [B, T] token ids; pads are 0 and never read.
        positions: [B, T] position of each token, counted from the end of the prefix.
        visible: [B or 1, T, T] bool, what each query position may see besides the prefix.
        answer_at: [B, T] bool, positions whose next-token distribution is read.
        targets: [A] token expected at each of them, in row-major order; empty when all answers are scored.
        lengths: tokens of each row, pads left out.
    """

    ids: Tensor
    positions: Tensor
    visible: Tensor
    answer_at: Tensor
    targets: Tensor
    lengths: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(self.ids.shape[0])

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        if device.type == "cpu":
            return self
        return Batch(
            self.ids.to(device),
            self.positions.to(device),
            self.visible.to(device),
            self.answer_at.to(device),
            self.targets.to(device),
            self.lengths,
        )


def line_batch(rows: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], step: int = LENGTH_STEP) -> Batch:
    """Each row followed by one answer, as a plain causal line; its answer tokens are the targets.

    Args:
        rows: ids of each row after the prefix, at least one each.
        answers: ids of the answer of each row, terminator included.
        step: lengths are padded to a multiple of this.
    """
    lines = [[*row, *answer[:-1]] for row, answer in zip(rows, answers, strict=True)]
    width = _round_up(max(map(len, lines)), step)
    ids = torch.zeros(len(lines), width, dtype=torch.long)
    answer_at = torch.zeros(len(lines), width, dtype=torch.bool)
    for index, (line, row, answer) in enumerate(zip(lines, rows, answers, strict=True)):
        ids[index, : len(line)] = torch.tensor(line)
        answer_at[index, len(row) - 1 : len(row) - 1 + len(answer)] = True
    return Batch(
        ids=ids,
        positions=torch.arange(width).expand(len(lines), width),
        visible=torch.ones(1, width, width, dtype=torch.bool).tril(),
        answer_at=answer_at,
        targets=torch.tensor([token for answer in answers for token in answer]),
        lengths=tuple(map(len, lines)),
    )


def tree_batch(rows: Sequence[Sequence[int]], trie: AnswerTrie) -> Batch:
    """Each row followed by every node of the answer trie, so that one pass reads all answers.

    A node sees the row and its own ancestors; siblings never see each other. Its position is the one it would have if its
    answer stood alone behind the row.
    """
    nodes = trie.num_nodes
    lengths = [len(row) for row in rows]
    width = max(lengths)
    ids = torch.zeros(len(rows), width + nodes, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
    ids[:, width:] = torch.tensor(trie.node_ids, dtype=torch.long)
    ends = torch.tensor(lengths)
    positions = torch.arange(width + nodes).repeat(len(rows), 1)
    positions[:, width:] = ends[:, None] + torch.tensor(trie.node_depths, dtype=torch.long)[None, :]
    answer_at = torch.zeros(len(rows), width + nodes, dtype=torch.bool)
    answer_at[torch.arange(len(rows)), ends - 1] = True
    answer_at[:, width:] = True
    return Batch(
        ids=ids,
        positions=positions,
        visible=_tree_visibility(ends, width, trie),
        answer_at=answer_at,
        targets=torch.empty(0, dtype=torch.long),
        lengths=tuple(lengths),
    )


def forest_batch(rows: Sequence[Sequence[int]], tries: Sequence[AnswerTrie]) -> Batch:
    """As `tree_batch`, but every row has a trie of its own, which follows it at once; all pads stand behind it."""
    lengths = [len(row) for row in rows]
    width = max(length + trie.num_nodes for length, trie in zip(lengths, tries, strict=True))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros_like(ids)
    visible = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(rows), 1, 1)
    answer_at = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, (row, end, trie) in enumerate(zip(rows, lengths, tries, strict=True)):
        last = end + trie.num_nodes
        ids[index, :last] = torch.tensor([*row, *trie.node_ids])
        positions[index, :last] = torch.tensor([*range(end), *(end + depth for depth in trie.node_depths)])
        visible[index, end:last, end:last] = trie.ancestry()
        answer_at[index, end - 1 : last] = True
    return Batch(ids, positions, visible, answer_at, torch.empty(0, dtype=torch.long), tuple(lengths))


def _tree_visibility(ends: Tensor, width: int, trie: AnswerTrie) -> Tensor:
    """[B or 1, T, T]; one mask for all rows when they are equally long."""
    if int(ends.min()) == int(ends.max()):
        ends = ends[:1]
    nodes = trie.num_nodes
    visible = torch.zeros(len(ends), width + nodes, width + nodes, dtype=torch.bool)
    visible[:, :width, :width] = torch.ones(width, width, dtype=torch.bool).tril()
    visible[:, width:, :width] = (torch.arange(width)[None, :] < ends[:, None])[:, None, :]
    visible[:, width:, width:] = trie.ancestry()
    return visible


def buckets(lengths: Sequence[int], extra: int, max_tokens: int, max_rows: int) -> Iterator[list[int]]:
    """Row indices grouped by length, so that little is spent on padding. Longest first: memory is short at once or never.

    Args:
        lengths: tokens of each row.
        extra: tokens that every row carries besides (trie nodes).
        max_tokens: most tokens of a batch, pads included; a single row may exceed it.
        max_rows: most rows of a batch.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    group: list[int] = []
    for index in order:
        width = (lengths[group[0]] if group else lengths[index]) + extra
        if group and (len(group) >= max_rows or width * (len(group) + 1) > max_tokens):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def even_buckets(lengths: Sequence[int], extra: int, max_tokens: int, max_rows: int, at_once: int) -> list[list[int]]:
    """As `buckets`, but as many batches as fill `at_once` threads, of nearly equal size, so that none waits for another at the end.

    Args:
        at_once: batches that run side by side; batches are not cut smaller than what keeps one thread at its full speed.
    """
    groups = list(buckets(lengths, extra, max_tokens, max_rows))
    total = sum(lengths) + extra * len(lengths)
    wanted = min(_round_up(max(1, len(groups)), at_once), len(lengths), max(1, total // _LEAST_TOKENS))
    if wanted < max(2, len(groups)):
        return groups
    limit, longest = -(-total // wanted), max(lengths) + extra
    while len(even := list(buckets(lengths, extra, min(limit, max_tokens), max_rows))) > wanted and limit < max_tokens:
        limit += max(1, longest // 4)
    return even if len(even) <= wanted else groups


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


@dataclass(frozen=True)
class SoftTargets:
    """What a teacher thinks of every label.

    Args:
        trie: all answers.
        loglikelihoods: [N, C] of each training row.
        temperature: both sides are divided by it before they are compared.
    """

    trie: AnswerTrie
    loglikelihoods: Tensor
    temperature: float


@dataclass(frozen=True)
class Lines:
    """Training rows as ids: contexts without virtual tokens, and the answer that each is to be followed by.

    With soft targets the answers are only what the teacher would choose; the loss looks at all labels.
    """

    contexts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    soft: SoftTargets | None = None

    @property
    def longest_answer(self) -> int:
        """Tokens of the longest answer that a row may be followed by, terminator included."""
        return self.soft.trie.longest() if self.soft else max(map(len, self.answers))

    def __len__(self) -> int:
        return len(self.contexts)

    def label_tokens(self, indices: Sequence[int]) -> int:
        """Answer tokens of some rows."""
        return sum(len(self.answers[index]) for index in indices)


def shuffled_batches(lengths: Sequence[int], size: int, seed: int) -> Iterator[list[int]]:
    """Batches of training rows without end: seeded shuffles, sorted by length inside windows so that little is spent on padding.

    Args:
        lengths: tokens of each row.
        size: rows a batch; the last of a window may hold fewer.
    """
    epoch = 0
    while True:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(lengths), generator=generator).tolist()
        window = size * _WINDOW_BATCHES
        for at in range(0, len(order), window):
            rows = sorted(order[at : at + window], key=lengths.__getitem__)
            cut = [rows[i : i + size] for i in range(0, len(rows), size)]
            for place in torch.randperm(len(cut), generator=generator).tolist():
                yield cut[place]
        epoch += 1

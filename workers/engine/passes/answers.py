"""Label words as token ids, and one trie for all of them: what is scored where. Knows no model and no rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.engine.errors import BadSpec

ROW_END = -1


@dataclass(frozen=True)
class Answer:
    """One way to say a label, with its terminator."""

    label: str
    word: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class AnswerTrie:
    """All answers as one tree over tokens, so that a beginning that several share is run once.

    A node is a proper beginning of at least one answer; the row's own end stands above the first tokens. Reading the
    next-token distribution at the row's end and at every node scores all answers.

    Args:
        answers: the answers in the order of the labels.
        node_ids: token of each node.
        node_parents: index of each node's parent, `ROW_END` for first tokens; parents stand before children.
        node_depths: 0 for first tokens.
        steps: per answer, pairs of position (0 is the row's end, 1 + i is node i) and the token predicted there.
    """

    answers: tuple[Answer, ...]
    node_ids: tuple[int, ...]
    node_parents: tuple[int, ...]
    node_depths: tuple[int, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def num_nodes(self) -> int:
        return len(self.node_ids)

    @property
    def num_positions(self) -> int:
        """Positions whose next-token distribution is read: the row's end and every node."""
        return 1 + self.num_nodes

    def longest(self) -> int:
        """Tokens of the longest answer, terminator included."""
        return max(len(answer.ids) for answer in self.answers)

    def ancestry(self) -> Tensor:
        """[M, M] bool: True where the column is the row's node itself or stands above it."""
        seen = torch.zeros(self.num_nodes, self.num_nodes, dtype=torch.bool)
        for node, parent in enumerate(self.node_parents):
            if parent != ROW_END:
                seen[node] = seen[parent]
            seen[node, node] = True
        return seen


def build_trie(answers: Sequence[Answer]) -> AnswerTrie:
    """The trie of all answers.

    Raises:
        BadSpec: two labels are the same tokens, so no score could tell them apart.
    """
    _refuse_equal_answers(answers)
    nodes: dict[tuple[int, ...], int] = {}
    parents: list[int] = []
    steps = []
    for answer in answers:
        path = []
        for depth, token in enumerate(answer.ids):
            beginning = answer.ids[:depth]
            if depth and beginning not in nodes:
                nodes[beginning] = len(nodes)
                parents.append(nodes.get(beginning[:-1], ROW_END))
            path.append((1 + nodes[beginning] if depth else 0, token))
        steps.append(tuple(path))
    return AnswerTrie(
        answers=tuple(answers),
        node_ids=tuple(beginning[-1] for beginning in nodes),
        node_parents=tuple(parents),
        node_depths=tuple(len(beginning) - 1 for beginning in nodes),
        steps=tuple(steps),
    )


def _refuse_equal_answers(answers: Sequence[Answer]) -> None:
    seen: dict[tuple[int, ...], Answer] = {}
    for answer in answers:
        other = seen.setdefault(answer.ids, answer)
        if other is not answer:
            raise BadSpec(
                f"The answer words {other.word!r} ({other.label}) and {answer.word!r} ({answer.label}) are the same tokens "
                "for this model, so it cannot tell them apart. Change one of them."
            )

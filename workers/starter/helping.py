"""Losses beside the answers' own: what the states inside the model are taught, so that few tokens of training suffice.

Choosing a listed option by reading takes three things that answers alone teach slowly: states that mean what a text or an option
says, attention that finds the right option, and states that still know which word stood in front, so that it can be copied.
Knows states, attention and words; must not know where batches come from.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.bert.modeling_bert import BertSelfAttention

from workers.starter.batches import Batch

DISTANCE_WEIGHT = 1.5
TELLING_APART_WEIGHT = 0.3
TEMPERATURE = 0.05  # of cosines among which the right one is to be told
POINTING_WEIGHT = 0.5
REMEMBERING_WEIGHT = 0.1
POINTING_HEADS = slice(0, 8)  # of twelve: where an answer is predicted they are taught to look at its listed option
COPYING_HEADS = slice(8, 12)  # and these, further on in the answer, at what comes next in the option
REMEMBERED = 512  # positions of a batch whose word in front is asked for


class Sizes(NamedTuple):
    """What the parts of one update's loss are divided by, so that its micro-batches add up."""

    weight: float
    meanings: int
    points: int
    copies: int
    batches: int


class Help(NamedTuple):
    """The losses of one batch, one figure for each thing taught; remembering is a mean already."""

    meaning: Tensor
    pointing: Tensor
    copying: Tensor
    remembering: Tensor

    def weighted(self, sizes: Sizes) -> Tensor:
        pointing = self.pointing.sum() / sizes.points + self.copying.sum() / sizes.copies
        return self.meaning.sum() / sizes.meanings + POINTING_WEIGHT * pointing + REMEMBERING_WEIGHT * self.remembering / sizes.batches


class Readers(nn.Module):
    """Square matrices that read meanings and words off the states; they are thrown away with the training."""

    words: Tensor
    meanings: Tensor

    def __init__(self, words: Tensor, meanings: Tensor, padding: int) -> None:
        """words: [vocabulary, width]; meanings: [count, width], unit vectors of the sentence encoder; padding: id of the token."""
        super().__init__()
        self.padding = padding
        width = words.shape[1]
        self.register_buffer("words", functional.normalize(words.detach().clone(), dim=-1), persistent=False)
        self.register_buffer("meanings", meanings, persistent=False)
        self.meaning = nn.Linear(width, meanings.shape[1])
        nn.init.eye_(self.meaning.weight)
        self.word_in_front = nn.Linear(width, width)
        self.first_word = nn.Linear(width, width)

    def help(self, states: Tensor, attention: BertSelfAttention, batch: Batch) -> Help:
        """states: [rows, length, width], which `attention` reads."""
        flat = states.flatten(0, 1)
        return Help(
            self._meaning_losses(flat[batch.meant_at], batch.meanings),
            pointing(states, attention, batch.points, POINTING_HEADS),
            pointing(states, attention, batch.copies, COPYING_HEADS),
            self._remembering(flat, batch),
        )

    def _meaning_losses(self, states: Tensor, meanings: Tensor) -> Tensor:
        distance, apart = self.distances(states, meanings)
        return DISTANCE_WEIGHT * distance + TELLING_APART_WEIGHT * apart

    def distances(self, states: Tensor, meanings: Tensor) -> tuple[Tensor, Tensor]:
        """[states] twice: how far what is read is from the sentence encoder's vectors, by angle and among the batch's other vectors."""
        distinct, own = torch.unique(meanings, return_inverse=True)
        near = functional.normalize(self.meaning(states.float()), dim=-1) @ self.meanings[distinct].T
        return 1 - near.gather(1, own[:, None]).squeeze(1), functional.cross_entropy(near / TEMPERATURE, own, reduction="none")

    def _remembering(self, states: Tensor, batch: Batch) -> Tensor:
        """How badly the states tell the word in front of them, and those that end a listed option the option's first word."""
        ids, length = batch.ids.flatten(), batch.ids.shape[1]
        drawn = torch.randperm(len(ids))[:REMEMBERED]
        drawn = drawn[(drawn % length > 0) & (ids[drawn] != self.padding)]
        first, last = batch.options.unbind(1)
        asked = ((self.word_in_front, drawn, ids[drawn - 1]), (self.first_word, last, ids[first]))
        return torch.stack([self._word_loss(reader, states[at], words) for reader, at, words in asked if len(at)]).sum()

    def _word_loss(self, reader: nn.Linear, states: Tensor, words: Tensor) -> Tensor:
        distinct, own = torch.unique(words, return_inverse=True)
        near = functional.normalize(reader(states.float()), dim=-1) @ self.words[distinct].T
        return functional.cross_entropy(near / TEMPERATURE, own)


def pointing(states: Tensor, attention: BertSelfAttention, points: Tensor, heads: slice) -> Tensor:
    """[points]: minus the log of the attention that an asking position pays to what it needs, mean over the heads.

    points: [count, 4], see `batches.Batch.points`.
    """
    row, asking, first, behind = points.unbind(1)
    width = attention.attention_head_size
    query = attention.query(states[row, asking]).unflatten(-1, (-1, width))[:, heads]
    key = attention.key(states).unflatten(-1, (-1, width))[:, :, heads]
    scores = torch.einsum("ahw,athw->aht", query, key[row]).float() * width**-0.5
    place = torch.arange(states.shape[1])
    seen = scores.masked_fill((place > asking[:, None])[:, None], -1e9).log_softmax(-1)
    own = (place >= first[:, None]) & (place < behind[:, None])
    paid: Tensor = seen.masked_fill(~own[:, None], -1e9).logsumexp(-1)
    return -paid.mean(-1)

from __future__ import annotations

import math

import torch
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertSelfAttention

from workers.starter.batches import Batch
from workers.starter.helping import Readers, pointing

WIDTH = 8


def attention_of_equals() -> BertSelfAttention:
    """One head in which equal states attend to each other and all others get nothing worth naming."""
    attention = BertSelfAttention(BertConfig(hidden_size=WIDTH, num_attention_heads=1))
    with torch.no_grad():
        for layer in (attention.query, attention.key):
            layer.weight.copy_(torch.eye(WIDTH) * 8)
            layer.bias.zero_()
    return attention


def test_pointing_costs_nothing_where_attention_is_and_much_elsewhere() -> None:
    states = torch.eye(WIDTH)[[0, 1, 2, 1]].unsqueeze(0)  # the last state equals the second
    points = torch.tensor([[0, 3, 1, 2], [0, 3, 0, 1], [0, 3, 1, 4]])
    right, wrong, both = pointing(states, attention_of_equals(), points, slice(0, 1)).tolist()
    assert math.isclose(right, math.log(2), abs_tol=1e-3)  # itself is as much alike
    assert wrong > 5
    assert math.isclose(both, 0, abs_tol=1e-3)


def test_pointing_does_not_count_what_comes_after() -> None:
    states = torch.eye(WIDTH)[[1, 1, 1]].unsqueeze(0)
    [loss] = pointing(states, attention_of_equals(), torch.tensor([[0, 0, 0, 3]]), slice(0, 1)).tolist()
    assert math.isclose(loss, 0, abs_tol=1e-6)


def batch_of(ids: list[list[int]], options: list[list[int]]) -> Batch:
    nothing = torch.zeros(0, dtype=torch.long)
    return Batch(
        ids=torch.tensor(ids),
        positions=nothing,
        where=nothing,
        targets=nothing,
        weights=nothing.float(),
        meant_at=torch.tensor([1]),
        meanings=torch.tensor([2]),
        points=nothing.view(0, 4),
        copies=nothing.view(0, 4),
        options=torch.tensor(options, dtype=torch.long).view(-1, 2),
    )


def test_a_state_that_is_the_word_in_front_is_remembered() -> None:
    words = torch.eye(WIDTH)
    readers = Readers(words, torch.eye(WIDTH), padding=0)
    for reader in (readers.word_in_front, readers.first_word):
        torch.nn.init.eye_(reader.weight)
        torch.nn.init.zeros_(reader.bias)
    ids = [[3, 4, 5, 6, 0, 0]]
    known = torch.eye(WIDTH)[[0, 3, 4, 5, 0, 0]].unsqueeze(0)  # each state is its word in front; padding is not asked
    attention = attention_of_equals()
    kept = readers.help(known, attention, batch_of(ids, [])).remembering.item()
    lost = readers.help(known.flip(1), attention, batch_of(ids, [])).remembering.item()
    assert kept < 0.01 < 1 < lost
    of_options = readers.help(known, attention, batch_of(ids, [[1, 2]])).remembering.item()  # the third state is the second word
    assert of_options < 0.01


def test_meanings_are_told_by_angle_and_apart_from_the_others() -> None:
    readers = Readers(torch.eye(WIDTH), torch.eye(WIDTH), padding=0)
    torch.nn.init.zeros_(readers.meaning.bias)
    states = torch.eye(WIDTH)[[2, 3]]
    right, apart = readers.distances(states, torch.tensor([2, 3]))
    crossed, confused = readers.distances(states, torch.tensor([3, 2]))
    assert float(right.sum()) < 1e-6 < 1.9 < float(crossed.sum())
    assert float(apart.max()) < 1e-6 < 10 < float(confused.min())

from __future__ import annotations

import random

import torch
from transformers import PreTrainedTokenizerFast

from workers.starter import batches
from workers.starter.backbone import WINDOW
from workers.starter.episodes import EpisodeSource, Piece


def test_the_terminator_follows_every_answer_in_the_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    episode = [Piece("a:"), Piece("bc", answer=True), Piece("d:"), Piece("e", answer=True)]
    sequence = batches.encode(episode, tokenizer, random.Random(0), {})
    assert sequence is not None
    strong = [t for t, w in zip(sequence.targets, sequence.weights, strict=True) if w > batches.PROMPT_WEIGHT]
    said = [tokenizer.convert_ids_to_tokens(target) for target in strong]
    assert said == ["b", "##c", "[SEP]", "e", "[SEP]"]
    assert sequence.ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in sequence.ids


def test_an_episode_that_does_not_fit_is_dropped_not_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    fits = [Piece("a " * (WINDOW - 2)), Piece("b", answer=True)]
    too_long = [Piece("a " * (WINDOW - 1)), Piece("b", answer=True)]
    assert batches.encode(fits, tokenizer, random.Random(0), {}) is not None
    assert batches.encode(too_long, tokenizer, random.Random(0), {}) is None


def test_batches_have_few_fixed_shapes_and_stay_inside_the_window(source: EpisodeSource, tokenizer: PreTrainedTokenizerFast) -> None:
    stream = batches.batches(source.draw, tokenizer, random.Random(0), source.bank.meanings()[0])
    for _ in range(40):
        batch = next(stream)
        rows, length = batch.ids.shape
        assert length in batches.LENGTHS
        assert rows == max(1, batches.BATCH_TOKENS // length)
        assert int(batch.positions.max()) < WINDOW
        assert torch.equal(batch.positions.diff(dim=1), torch.ones(rows, length - 1, dtype=torch.long))
        assert len(batch.where) == len(batch.targets) == len(batch.weights)
        assert len(batch.meant_at) == len(batch.meanings)


def test_the_state_at_the_end_of_a_piece_is_taught_its_meaning(tokenizer: PreTrainedTokenizerFast) -> None:
    episode = [
        Piece("of "),
        Piece("ab", means="ab"),
        Piece(", "),
        Piece("cd", means="cd"),
        Piece(":", means="unknown"),
        Piece("ab", answer=True),
    ]
    sequence = batches.encode(episode, tokenizer, random.Random(0), {"ab": 7, "cd": 8})
    assert sequence is not None
    ends = {place: tokenizer.convert_ids_to_tokens(sequence.ids[place]) for place in sequence.meanings}
    assert [(ends[place], meaning) for place, meaning in sequence.meanings.items()] == [("##b", 7), ("##d", 8)]


def test_every_position_of_the_window_is_reached() -> None:
    rng = random.Random(0)
    reached = torch.zeros(WINDOW, dtype=torch.bool)
    for _ in range(4000):
        first = batches.first_position(64, rng)
        reached[first : first + 64] = True
    assert bool(reached.all())


def test_an_answer_points_at_its_option_in_the_list(tokenizer: PreTrainedTokenizerFast) -> None:
    episode = [
        Piece("ab", listed=True),
        Piece(","),
        Piece("cde", listed=True),
        Piece("x:"),
        Piece("cde", answer=True),
        Piece("y"),
        Piece("z", answer=True),
    ]
    sequence = batches.encode(episode, tokenizer, random.Random(0), {})
    assert sequence is not None
    [(asking, first, behind)] = sequence.points
    assert tokenizer.convert_ids_to_tokens(sequence.ids[first:behind]) == ["c", "##d", "##e"]
    assert tokenizer.convert_ids_to_tokens([sequence.ids[asking], sequence.targets[asking]]) == [":", "c"]


def test_further_tokens_of_an_answer_and_its_end_are_copied_from_the_option(tokenizer: PreTrainedTokenizerFast) -> None:
    episode = [Piece("ab", listed=True), Piece(","), Piece("cde", listed=True), Piece(";"), Piece("x:"), Piece("cde", answer=True)]
    sequence = batches.encode(episode, tokenizer, random.Random(0), {})
    assert sequence is not None
    asked = [tokenizer.convert_ids_to_tokens([sequence.targets[asking], sequence.ids[place]]) for asking, place in sequence.copies]
    assert asked == [["##d", "##d"], ["##e", "##e"], ["[SEP]", ";"]]
    assert [tokenizer.convert_ids_to_tokens([sequence.ids[first], sequence.ids[last]]) for first, last in sequence.options] == [
        ["a", "##b"],
        ["c", "##e"],
    ]

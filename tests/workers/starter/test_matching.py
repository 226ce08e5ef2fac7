from __future__ import annotations

import random

import numpy as np

from workers.starter import matching


def test_an_option_wins_only_with_a_clear_margin() -> None:
    phrases = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    texts = np.array([[1.0, 0.0], [0.95, 0.312]], dtype=np.float32)
    bank = matching.MatchingBank.__new__(matching.MatchingBank)
    bank.text_vectors, bank.phrase_vectors = texts, phrases
    assert bank.clear_winner(0, [2, 0]) == 1
    assert bank.clear_winner(1, [0, 1]) is None


def test_an_option_that_is_merely_the_least_far_does_not_win() -> None:
    bank = matching.MatchingBank.__new__(matching.MatchingBank)
    bank.text_vectors = np.array([[1.0, 0.0]], dtype=np.float32)
    bank.phrase_vectors = np.array([[0.2, 0.98], [-1.0, 0.0]], dtype=np.float32)
    assert bank.clear_winner(0, [0, 1]) is None


def test_problems_give_the_option_nearest_to_each_text(bank: matching.MatchingBank) -> None:
    rng = random.Random(3)
    for _ in range(50):
        options, items = bank.problem(6, 4, rng, hard=0.3)
        assert len(options) == len(set(options)) == 6
        for text, answer in items:
            scores = bank.phrase_vectors[options] @ bank.text_vectors[text]
            assert scores[answer] >= np.delete(scores, answer).max() + matching.MARGIN


def test_forbidden_names_and_proper_names_are_not_mined_as_phrases() -> None:
    texts = ["play the loud music for Kofi", "the loud music of Kofi", "a letter to Kofi about loud music", "loud music"]
    mined = matching.mine_phrases(texts, forbidden={"music"}, limits=(10, 10, 10))
    assert "loud music" in mined
    assert "music" not in mined
    assert not any("kofi" in phrase for phrase in mined)


def test_compound_phrases_leave_out_forbidden_names() -> None:
    nouns = ["order"]
    heads = {f"order {head}" for head in ("status", "problem")}
    made = matching.compound_phrases(nouns, 400, random.Random(0), forbidden=heads)
    assert made
    assert not heads & set(made)


def test_a_literal_problem_is_decided_by_shared_words_alone() -> None:
    texts = ["please order a large pizza", "book the morning train", "the quiet library garden"]
    rng = random.Random(1)
    for _ in range(50):
        names, found = matching.literal_problem(texts, ["harbour", "violin"], rng)
        for text, name in found:
            shared = {option: len(matching.content_words(option) & matching.content_words(text)) for option in names}
            assert shared[name] > max(count for option, count in shared.items() if option != name)

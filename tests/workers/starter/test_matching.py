from __future__ import annotations

import random
from collections import Counter

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
        assert 1 <= len(options) == len(set(options)) <= 6
        for text, answer in items:
            scores = bank.phrase_vectors[options] @ bank.text_vectors[text]
            assert scores[answer] >= np.delete(scores, answer).max() + matching.MARGIN


def test_options_first_asks_for_each_phrase_as_often_as_for_the_others(bank: matching.MatchingBank) -> None:
    """Else options that look like a request's would be chosen whatever the text says."""
    asking = matching.MatchingBank(bank.texts, bank.phrases, bank.text_vectors, bank.phrase_vectors, requests=10)
    rng = random.Random(5)
    listed, right = Counter[bool](), Counter[bool]()
    for _ in range(600):
        options, items = asking.of_options(6, 3, rng, hard=0.3)
        listed.update(phrase >= 50 for phrase in options)
        right.update(options[answer] >= 50 for _, answer in items)
    assert right[True] / listed[True] < 1.2 * right[False] / listed[False]


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


def test_some_literal_problems_have_names_that_begin_alike() -> None:
    texts = ["please order a large pizza", "book the morning train", "the quiet library garden"]
    rng = random.Random(1)
    alike = 0
    for _ in range(50):
        names, _ = matching.literal_problem(texts, ["harbour", "violin"], rng)
        alike += max(Counter(name.split()[0] for name in names).values()) > 1
    assert 5 <= alike <= 25

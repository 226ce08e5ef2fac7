from __future__ import annotations

import random

from workers.starter import evaluation_tasks, naming, wording
from workers.starter.episodes import EpisodeSource, listed_prompt, shown_prompt


def test_no_answer_is_ever_the_name_of_a_held_out_intent(source: EpisodeSource) -> None:
    rng = random.Random(0)
    forbidden = naming.held_out_names() | set(naming.HELD_OUT_INTENTS)
    for _ in range(600):
        assert not forbidden & {piece.text for piece in source.draw(rng) if piece.answer}


def test_every_answer_of_a_listed_prompt_stands_in_the_list() -> None:
    rng = random.Random(1)
    names = ["card fee", "lost parcel", "opening hours"]
    for _ in range(200):
        prompt = listed_prompt(names, [("where is it", "lost parcel"), ("when are you open", "opening hours")], rng)
        before = "".join(piece.text for piece in prompt[: next(i for i, piece in enumerate(prompt) if piece.answer)])
        for piece in prompt:
            if piece.answer:
                assert piece.text in before


def test_an_unlisted_name_is_learned_only_after_it_was_shown() -> None:
    items = [("one", "x"), ("two", "y"), ("three", "x")]
    prompt = shown_prompt(items, random.Random(2), names=None)
    labels = [piece for piece in prompt if piece.text in {"x", "y"}]
    assert [piece.answer for piece in labels] == [False, False, True]


def test_every_text_and_every_listed_name_is_taught_its_meaning() -> None:
    rng = random.Random(3)
    for _ in range(100):
        prompt = listed_prompt(["card_fee", "lost parcel"], [("where is it", "lost parcel")], rng)
        meant = [piece.means for piece in prompt if piece.means]
        assert {"card fee", "lost parcel", "where is it"} == set(meant)
        assert prompt[-2].means == "where is it"
        assert prompt[-1].answer


def test_every_kind_of_episode_has_an_answer(source: EpisodeSource) -> None:
    rng = random.Random(4)
    for _, kind in source.kinds:
        drawn = [kind(rng) for _ in range(20)]
        assert any(episode and any(piece.answer for piece in episode) for episode in drawn), kind


def test_the_wordings_of_the_evaluation_are_not_used_in_training() -> None:
    trained = {line.lower() for line in (*wording.INSTRUCTIONS, *wording.POLARITY_QUESTIONS)}
    for asked in (*evaluation_tasks.REQUEST_WORDINGS, *evaluation_tasks.QUEUE_WORDINGS):
        for line in asked.lower().splitlines():
            assert line not in trained


def test_all_trained_names_are_known_to_the_groups() -> None:
    for _, members in (*naming.GROUPS, *naming.DOMAINS):
        assert set(members) <= set(naming.TRAINED_INTENTS)

"""What answers mean: alternatives decide where they can, text where it is a label, and nothing else is a label."""

import math

import pytest

from workers.endpoint.client import Reply
from workers.endpoint.reading import read_label, read_text, score_labels

WORDS = {"refund": ["refund", "money back"], "return": ["return"], "card_arrival": ["card_arrival"]}


def shares(*pairs: tuple[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple((token, math.log(share)) for token, share in pairs)


def test_token_that_begins_one_label_decides():
    reading = read_label(Reply("refund", (shares(("ref", 0.6), ("card", 0.3), ("x", 0.05)),)), WORDS)

    assert (reading.label, reading.how) == ("refund", "log-probabilities")
    shown = {label: round(math.exp(score), 2) for label, score in reading.scores.items()}
    assert shown == {"refund": 0.6, "card_arrival": 0.3, "return": 0.05}


def test_label_behind_other_words_is_chosen_among_the_labels():
    """Restricted to the labels, as the engine's own scoring is."""
    assert read_label(Reply("The queue", (shares(("The", 0.9), (" return", 0.08), ("an", 0.01)),)), WORDS).label == "return"


def test_shared_beginning_is_followed_where_it_was_chosen():
    top = (shares(("re", 0.8), ("card", 0.1), ("x", 0.01)), shares(("turn", 0.7), ("fund", 0.3)))

    assert read_label(Reply("return", top), WORDS).label == "return"


def test_shared_beginning_that_was_not_chosen_leaves_it_to_the_text():
    top = (shares(("card", 0.45), ("re", 0.4), ("x", 0.1)),)

    assert score_labels(top, WORDS)[1] is False
    assert read_label(Reply("card_arrival", top), WORDS).how == "text"


def test_label_that_may_hide_behind_the_last_alternative_leaves_it_to_the_text():
    assert read_label(Reply("no idea", (shares(("I", 0.5), ("You", 0.4), ("card", 0.02)),)), WORDS).label is None


@pytest.mark.parametrize(
    "tokens",
    [["Refund"], [" REF", "UND"], ['"', "refund"], ["**", "Money", " back"]],
    ids=["capital", "capitals in two tokens", "quoted", "bold"],
)
def test_label_in_another_spelling_is_not_overruled_by_a_far_less_likely_one(tokens):
    """Almost all of the probability lies on one label as chat models like to write, and a little on another as it is written."""
    top = tuple(shares((token, 0.95), ("card", 0.04), ("x", 0.0001)) for token in tokens)

    reading = read_label(Reply("".join(tokens), top), WORDS)

    assert (reading.label, reading.how, reading.scores) == ("refund", "text", {})


def test_alternatives_of_the_thinking_before_an_answer_do_not_decide_it():
    thinking = shares(("<think>", 0.99), ("card", 0.005), ("x", 0.0001))

    assert read_label(Reply("return", (thinking, shares(("Hm", 0.9)))), WORDS).label == "return"


@pytest.mark.parametrize("text", ["It is a refund", "Item"])
def test_beginning_of_a_sentence_is_no_label_that_begins_alike(text):
    words = {"refund": ["refund"], "item_return": ["item_return"]}

    assert read_label(Reply(text, (shares(("It", 0.9), ("refund", 0.08), ("x", 0.01)),)), words).label == "refund"


def test_several_words_of_a_label_add_up():
    scores, is_decided = score_labels((shares(("money", 0.3), ("card", 0.35), ("ref", 0.3), ("x", 0.01)),), WORDS)

    assert is_decided
    assert max(scores, key=scores.__getitem__) == "refund"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("refund", "refund"),
        (" Refund.\n", "refund"),
        ("**Money back**", "refund"),
        ("card arrival", "card_arrival"),
        ("return\nMessage: where is it", "return"),
        ("It is a refund", None),
        ("refund or return", None),
        ("", None),
        ("...", None),
    ],
)
def test_text_is_a_label_as_written_or_after_normalisation(text, label):
    assert read_text(text, WORDS) == label


def test_text_that_two_labels_share_after_normalisation_is_none():
    assert read_text("A b", {"a b": ["a b"], "a-b": ["a-b"]}) is None
    assert read_text("a-b", {"a b": ["a b"], "a-b": ["a-b"]}) == "a-b"

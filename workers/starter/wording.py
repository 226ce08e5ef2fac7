"""The ways in which a prompt can be worded: instructions, option lists, items, reviews.

Knows language only; must not know data sources, tokens or the model. The wordings that the evaluation uses are not
among these (tests/workers/starter checks that).
"""

# ruff: noqa: SIM905 (tables of words read best as text)

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

TEXT_NOUNS = (
    "message text request sentence utterance question input comment email post note query line customer_message "
    "user_request passage statement chat remark"
).split()
LABEL_NOUNS = ("label category topic intent class type department team answer subject tag group meaning theme target kind choice").split()
ROUTE_NOUNS = ("queue", "department", "team", "desk", "category", "topic", "intent")

INSTRUCTIONS = (
    "Choose the {label} of the {text}.",
    "Classify the {text}.",
    "Classify each {text} by {label}.",
    "Which {label} does the {text} belong to?",
    "What is the {text} about?",
    "Assign one {label} to the {text}.",
    "Read the {text} and pick the right {label}.",
    "Decide which {label} fits the {text} best.",
    "You route each {text} to the right {label}.",
    "You are a helpful assistant. Give the {label}.",
    "Find the best matching {label}.",
    "Select the {label} that describes the {text}.",
    "Your task is to name the {label} of every {text}. Answer with one of the {label} names only.",
    "We receive many of these. Say where each {text} should go.",
    "Given a {text}, answer with its {label}.",
    "Pick exactly one {label}.",
    "Determine the {label}. Do not explain.",
    "Categorize this {text}.",
    "Tell me the {label} of this {text}.",
    "The {text} below needs a {label}.",
    "Look at the {text} and answer.",
)
HEADERS = (
    "Options", "Choices", "Labels", "Categories", "Possible answers", "Choose from", "Pick one of", "Choose one",
    "The {label} is one of", "Possible {label}s", "{label}s", "Available {label}s", "Answer with one of", "Topics",
    "List of {label}s", "The {label}s are",
)  # fmt: skip
ITEMS = (
    "{Text}: {t}\n{Label}:",
    "{Text}: {t}\n{Label}:",
    "{Text}: {t}\n{Label}:",
    "{text}: {t} {label}:",
    "{t}\n{Label}:",
    "{t} ->",
    "{t} =>",
    "{t} =",
    "{t}:",
    '"{t}"\nThe {label} is',
    '"{t}" belongs to',
    "Input: {t}\nOutput:",
    "Q: {t}\nA:",
    "{Text}: {t}\nAnswer:",
    "{t}\nAnswer:",
    "{Text}: {t} | {Label}:",
    "{Text}: {t}\nThe {label} is",
    "{Text}: {t}\nBest {label}:",
    "[{t}] {label}:",
    "Here is the {text}: {t}\nIts {label} is",
)
SYMBOLS = (
    "a b c d e f g h x y z 1 2 3 4 5 6 7 8 9 10 red blue green yellow black white foo bar baz one two three four north "
    "south east west alpha beta gamma delta yes no true false apple pear plum stone river left right up down x1 x2 q7"
).split()
POLARITIES = (
    ("positive", "negative"), ("good", "bad"), ("happy", "unhappy"), ("satisfied", "dissatisfied"),
    ("praise", "complaint"), ("like", "dislike"), ("favorable", "unfavorable"), ("recommended", "not recommended"),
    ("great", "terrible"), ("pleased", "disappointed"), ("thumbs up", "thumbs down"), ("love", "hate"),
    ("positive review", "negative review"), ("content", "angry"),
)  # fmt: skip
POLARITY_QUESTIONS = (
    "What is the sentiment of the {text}?",
    "Is the {text} {a} or {b}?",
    "How does the writer feel?",
    "Decide the tone of the {text}.",
    "Did the customer like it?",
    "Sentiment analysis.",
    "What is the opinion of the writer?",
    "Classify the sentiment.",
)

_THINGS = (
    "the food|the service|the room|this book|the phone|the movie|the battery|the staff|the delivery|the app|the screen|"
    "the story|the acting|the hotel|the price|the coffee|the sound|the shoes|the update|the support team|the camera|"
    "this product|the plot|the music|the restaurant|the driver|the game|the quality|the website|the course"
).split("|")
_GOOD = (
    "was excellent|was great|is wonderful|works perfectly|was very good|exceeded my expectations|is amazing|"
    "made me very happy|was a pleasure|is worth every penny|was fantastic|could not be better|was delightful|"
    "is the best i have had|is superb|was quick and friendly|impressed me|was beautiful|is reliable|was touching"
).split("|")
_BAD = (
    "was terrible|was awful|is useless|broke after a week|was very bad|disappointed me|is horrible|made me angry|"
    "was a waste of money|never worked|was not worth it|could not be worse|was boring|is the worst i have had|"
    "is poor|was slow and rude|let me down|was ugly|keeps crashing|was dull and annoying|was not good"
).split("|")
_MORE_GOOD = "i love it.|highly recommended!|i will come back.|thank you!|five stars.|so happy.|buy it.|".split("|")
_MORE_BAD = "i hate it.|do not buy this!|never again.|i want a refund.|one star.|so sad.|avoid.|".split("|")


class Words(NamedTuple):
    """The nouns that one prompt uses throughout."""

    text: str
    label: str

    def fill(self, pattern: str, **more: str) -> str:
        names = {"text": self.text, "label": self.label, "Text": self.text.capitalize()}
        return pattern.format(**names, Label=self.label.capitalize(), **more)


def words(rng: random.Random) -> Words:
    label = rng.choice(ROUTE_NOUNS) if rng.random() < 0.3 else rng.choice(LABEL_NOUNS)
    return Words(rng.choice(TEXT_NOUNS).replace("_", " "), label)


def instruction(said: Words, rng: random.Random) -> str:
    """One or two sentences, or nothing."""
    count = rng.choices((0, 1, 2), (0.2, 0.65, 0.15))[0]
    return " ".join(said.fill(rng.choice(INSTRUCTIONS)) for _ in range(count))


def _styled(names: Sequence[str], rng: random.Random) -> list[str]:
    """The names with what stands between and around them: every second string is a name."""
    style = rng.randrange(9)
    opening, between, closing = "", rng.choice((", ", "; ", ", ", "; ", " | ", " / ")), rng.choice(("", "", "."))
    if style == 1:
        opening, between, closing = '"', '", "', '"'
    if style == 2:
        opening, between, closing = "[", "] [", "]"
    parts = [opening]
    for name in names:
        parts += [name, between]
    parts[-1] = closing
    if style == 0 and len(names) > 1:
        parts[-3] = " or "
    return parts


def options_block(names: Sequence[str], said: Words, rng: random.Random) -> list[str]:
    """The listed options in one of many shapes, as strings of which every second is a name."""
    header = said.fill(rng.choice(HEADERS)) + (":" if rng.random() < 0.9 else "")
    if rng.random() < 0.6:
        opening, *rest = _styled(names, rng)
        return [f"{header} {opening}", *rest]
    bullet = rng.choice(("- ", "* ", "", "- "))
    parts = [f"{header}\n{bullet}"]
    for name in names:
        parts += [name, f"\n{bullet}"]
    return [*parts[:-1], ""]


def keyed_block(keys: Sequence[str], names: Sequence[str], said: Words, rng: random.Random) -> list[str]:
    """Options as 'key: name', for letters, numbers and names with descriptions; every second string is a name."""
    before, after = rng.choice(((": ", ""), (". ", ""), (") ", ""), (" = ", ""), (" - ", ""), (" (", ")")))
    header, between = said.fill(rng.choice(HEADERS)) + ":", rng.choice(("\n", "; "))
    parts = [header + rng.choice(("\n", " "))]
    for key, name in zip(keys, names, strict=True):
        parts[-1] += key + before
        parts += [name, after + between]
    parts[-1] = after
    return parts


def keys_for(count: int, rng: random.Random) -> list[str]:
    """a, b, c ... or 1, 2, 3 ..."""
    return [chr(97 + i) for i in range(count)] if rng.random() < 0.5 else [str(i + 1) for i in range(count)]


def review(rng: random.Random) -> tuple[str, bool]:
    """A short made-up opinion and whether it is positive."""
    good = rng.random() < 0.5
    says, ends = (_GOOD, _MORE_GOOD) if good else (_BAD, _MORE_BAD)
    count = rng.choice((1, 1, 2))
    parts = [f"{rng.choice(_THINGS)} {rng.choice(says)}" for _ in range(count)]
    return (rng.choice((" and ", ". ", ", ")).join(parts) + ". " + rng.choice(ends)).strip(), good

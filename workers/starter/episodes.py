"""Draws training prompts: pieces of text of which some are answers to be learned.

Knows the kinds of problems and their mixture; must not know tokens or the model. An answer is always followed by the
terminator in the loss, whether or not more text follows it in the prompt.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

from workers.starter import matching, naming, wording
from workers.starter.matching import MatchingBank
from workers.starter.sources import Row, Task


class Piece(NamedTuple):
    """Text of a prompt.

    Args:
        answer: to be learned; where it is a listed option, attention is taught to look there.
        means: what the state at the end of the piece is taught to mean, as the sentence encoder understands it.
        listed: one of the options.
    """

    text: str
    answer: bool = False
    means: str | None = None
    listed: bool = False


Episode = list[Piece]
Item = tuple[str, str]  # text, right name

BEHIND = 0.3  # of the prompts with one item have their options behind it
_OPTION_COUNTS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 20)
_OPTION_WEIGHTS = (5, 6, 7, 7, 8, 9, 9, 9, 10, 8, 8, 6, 5, 3, 2)


def _several(rng: random.Random, most: int) -> int:
    """How many items share one prompt: one for four prompts in ten."""
    return 1 if rng.random() < 0.4 else rng.randint(2, most)


def listed_prompt(names: Sequence[str], items: Sequence[Item], rng: random.Random, *, told: str | None = None) -> Episode:
    """Items to be answered with one of the listed names."""
    said = wording.words(rng)
    opening = wording.instruction(said, rng) if told is None else told
    if rng.random() < 0.1:
        return _keyed_prompt(names, items, rng, said, opening)
    block = _block(wording.options_block(names, said, rng))
    shape = rng.choice(wording.ITEMS)
    if len(items) == 1 and rng.random() < BEHIND:
        text, name = items[0]
        cue = said.fill(rng.choice(("{Label}:", "Answer:", "The {label} is", "Output:", "->")))
        return [Piece(f"{opening}\n"), Piece(text, means=text), Piece("\n"), *block, Piece(f"\n{cue}", means=text), Piece(name, True)]
    head = [Piece(f"{opening}\n"), *block] if rng.random() < 0.75 else [*block, Piece(f"\n{opening}")]
    return [*head, *_items(items, shape, said)]


def _block(parts: Sequence[str]) -> Episode:
    """A block of options, in which every second string is a name and means itself."""
    return [Piece(part, means=part.replace("_", " "), listed=True) if place % 2 else Piece(part) for place, part in enumerate(parts)]


def _items(items: Sequence[Item], shape: str, said: wording.Words, known: Set[str] | None = None) -> Episode:
    """Texts with their answers; where `known` is given, an answer counts once its name is among them."""
    pieces: Episode = []
    for text, name in items:
        before, cue = said.fill("\n" + shape, t="\0").split("\0")
        pieces += [Piece(before), Piece(text, means=text), Piece(cue, means=text), Piece(name, known is None or name in known)]
        known = None if known is None else known | {name}
    return pieces


def _keyed_prompt(names: Sequence[str], items: Sequence[Item], rng: random.Random, said: wording.Words, opening: str) -> Episode:
    """Lettered or numbered options, answered by the letter or by the name."""
    keys = wording.keys_for(len(names), rng)
    block = wording.keyed_block(keys, names, said, rng)
    answers = list(items)
    if by_key := rng.random() < 0.5:
        key_of = dict(zip(names, keys, strict=True))
        answers = [(text, key_of[name]) for text, name in items]
    asked = rng.choice(("Answer with the letter or number.", "Give the key only.")) if by_key else ""
    return [Piece(f"{opening} {asked}\n"), *_block(block), *_items(answers, rng.choice(wording.ITEMS), said)]


def shown_prompt(items: Sequence[Item], rng: random.Random, *, names: Sequence[str] | None) -> Episode:
    """Demonstrations 'text -> name'; each item counts once its name has been seen (or is listed)."""
    said = wording.words(rng)
    shape = rng.choice(wording.ITEMS)
    head = wording.instruction(said, rng)
    block = _block(wording.options_block(names, said, rng)) if names else []
    return [Piece(f"{head}\n"), *block, *_items(items, shape, said, frozenset(names or ()))]


class EpisodeSource:
    """Draws episodes of every kind from the loaded data."""

    def __init__(self, bank: MatchingBank, intents: list[Row], reviews: list[Row], tasks: dict[str, list[Task]]) -> None:
        self.bank, self.reviews = bank, reviews
        self.tasks = list(tasks.values())
        self.by_intent: dict[str, list[str]] = defaultdict(list)
        for row in intents:
            self.by_intent[row.label].append(row.text)
        self.intents = sorted(self.by_intent)
        self.kinds: list[tuple[float, Callable[[random.Random], Episode | None]]] = [
            (0.40, self.matching),
            (0.22, self.own_words),
            (0.11, self.intent_naming),
            (0.06, self.coarse_naming),
            (0.09, self.shown),
            (0.05, self.opinion),
            (0.07, self.task),
        ]

    def draw(self, rng: random.Random) -> Episode:
        weights = [weight for weight, _ in self.kinds]
        while True:
            episode = rng.choices(self.kinds, weights)[0][1](rng)
            if episode is not None:
                return episode

    def matching(self, rng: random.Random) -> Episode | None:
        count = rng.choices(_OPTION_COUNTS, _OPTION_WEIGHTS)[0]
        options, found = self.bank.problem(count, _several(rng, 10) + 1, rng, hard=rng.choice((0.0, 0.3, 0.6, 0.9)))
        if len(options) < 2 or not found:
            return None
        names = self._styled([self.bank.phrases[p] for p in options], rng)
        items = [(self.bank.texts[text], names[place]) for text, place in found]
        if rng.random() < 0.08:
            return self._described(options, names, items, rng)
        return listed_prompt(names, items, rng)

    def own_words(self, rng: random.Random) -> Episode | None:
        """Options that are words of the texts themselves: names of the plainest kind, and never the same twice."""
        count = rng.choices(_OPTION_COUNTS, _OPTION_WEIGHTS)[0]
        texts = [self.bank.texts[self.bank.draw_text(rng)] for _ in range(count)]
        names, found = matching.literal_problem(texts, self.bank.words, rng)
        if len(names) < 2 or not found:
            return None
        shown = dict(zip(names, self._styled(names, rng), strict=True))
        items = [(text, shown[name]) for text, name in found]
        return listed_prompt(list(shown.values()), items[: _several(rng, 10)], rng)

    def _styled(self, names: list[str], rng: random.Random) -> list[str]:
        return [name.replace(" ", "_") for name in names] if rng.random() < 0.1 else names

    def _described(self, options: list[int], names: list[str], items: list[Item], rng: random.Random) -> Episode:
        """Names explained by a neighbouring phrase, or arbitrary keys explained by the name."""
        said = wording.words(rng)
        if rng.random() < 0.5:
            keys = rng.sample(wording.SYMBOLS, len(names))
            key_of = dict(zip(names, keys, strict=True))
            answers = [(text, key_of[name]) for text, name in items]
            block = wording.keyed_block(keys, names, said, rng)
        else:
            near = [self.bank.phrases[int(self.bank.phrases_near_phrase[p, rng.randrange(1, 8)])] for p in options]
            answers, block = items, wording.keyed_block(names, near, said, rng)
        head = wording.instruction(said, rng)
        return [Piece(f"{head}\n"), *_block(block), *_items(answers, rng.choice(wording.ITEMS), said)]

    def _intents(self, count: int, rng: random.Random) -> list[str]:
        """Intents of which a random share comes from one domain, so that some distractors are hard."""
        first = rng.choice(self.intents)
        domain = [i for i in self.intents if naming.DOMAIN_OF[i] == naming.DOMAIN_OF[first] and i != first]
        near = rng.sample(domain, min(len(domain), count - 1, rng.choice((0, 2, 4, 8))))
        far = [i for i in rng.sample(self.intents, count * 2) if i != first and i not in near]
        chosen = [first, *near, *far][:count]
        rng.shuffle(chosen)
        return chosen

    def intent_naming(self, rng: random.Random) -> Episode:
        intents = self._intents(rng.choices(_OPTION_COUNTS, _OPTION_WEIGHTS)[0], rng)
        name_of = {intent: naming.name_of(intent, rng) for intent in intents}
        asked = [rng.choice(intents) for _ in range(_several(rng, 12))]
        items = [(rng.choice(self.by_intent[intent]), name_of[intent]) for intent in asked]
        return listed_prompt(list(dict.fromkeys(name_of.values())), items, rng)

    def coarse_naming(self, rng: random.Random) -> Episode:
        """Domains or groups of intents as options."""
        table = naming.DOMAINS if rng.random() < 0.35 else naming.GROUPS
        rows = rng.sample(table, min(len(table), rng.randint(3, 14)))
        names = [rng.choice(names) for names, _ in rows]
        asked = [rng.randrange(len(rows)) for _ in range(_several(rng, 10))]
        items = [(rng.choice(self.by_intent[rng.choice(rows[place][1])]), names[place]) for place in asked]
        return listed_prompt(names, items, rng)

    def _classes(self, count: int, rng: random.Random) -> list[tuple[str, list[str]]]:
        """Names with texts: trained intents, or phrases with the texts that they clearly fit."""
        if rng.random() < 0.5:
            return [(naming.name_of(i, rng), self.by_intent[i]) for i in self._intents(count, rng)]
        options = self.bank.options_around([rng.randrange(len(self.bank.phrases))], count, rng, hard=0.2)
        found: list[tuple[str, list[str]]] = []
        for place, phrase in enumerate(options):
            texts = [int(t) for t in self.bank.texts_near_phrase[phrase][:40]]
            fitting = [self.bank.texts[t] for t in texts if self.bank.clear_winner(t, options) == place]
            if len(fitting) >= 3:
                found.append((self.bank.phrases[phrase], fitting))
        return found

    def shown(self, rng: random.Random) -> Episode | None:
        """Few-shot: demonstrations up to the whole window, with real names or arbitrary symbols."""
        symbols = rng.random() < 0.3
        classes = self._classes(rng.choice((2, 3, 4, 5) if symbols else (2, 3, 4, 6, 8, 10, 12, 14)), rng)
        if len(classes) < 2:
            return None
        names = rng.sample(wording.SYMBOLS, len(classes)) if symbols else [name for name, _ in classes]
        count = rng.choice((6, 8, 12, 16, 24, 36, 52))
        asked = [place % len(classes) for place in range(count)]
        rng.shuffle(asked)
        items = [(rng.choice(classes[place][1]), names[place]) for place in asked]
        listed = names if len(set(names)) == len(names) and not symbols and rng.random() < 0.5 else None
        return shown_prompt(items, rng, names=listed)

    def opinion(self, rng: random.Random) -> Episode:
        """Sentiment with listed label words, or none listed for the plain pair."""
        pair = rng.choice(wording.POLARITIES)
        items: list[Item] = []
        for _ in range(_several(rng, 5)):
            if rng.random() < 0.55:
                row = rng.choice(self.reviews)
                text, good = row.text, row.label == "positive"
            else:
                text, good = wording.review(rng)
            items.append((text, pair[0] if good else pair[1]))
        said = wording.words(rng)
        told = said.fill(rng.choice(wording.POLARITY_QUESTIONS), a=pair[0], b=pair[1])
        names = list(pair)
        rng.shuffle(names)
        return listed_prompt(names, items, rng, told=told)

    def task(self, rng: random.Random) -> Episode:
        row = rng.choice(rng.choice(self.tasks))
        return [Piece(row.prompt), Piece(row.completion, True)]

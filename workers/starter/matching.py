"""Open-vocabulary matching: which of K short phrases a sentence is about, as judged by the original MiniLM.

Knows sentence embeddings and margins; must not know prompt formats. Only clear cases are kept, so the labels are
those a reader would mostly agree with.
"""

# ruff: noqa: SIM905 (tables of words read best as text)

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

Matrix = NDArray[np.float32]

MARGIN = 0.07  # the right phrase is this much nearer than every other option
NEARNESS = 0.27  # and at least this near in absolute terms (cosine)
SAME_HEAD = 0.3  # of the literal problems
_LABEL_SHAPES = ("{0} {1}", "{0} {1}", "{1} of {0}", "{0} and {1}", "lost {0}", "new {0}", "{0}s")
_LABEL_HEADS = tuple(
    """
    problem request question status help fee limit information support delivery change complaint order repair advice
    review news payment price safety history plan schedule transfer account exchange refund access search booking
    """.split()
)
_PAIR_SHAPES = ("{} {}", "{} {}", "{} a {}", "{} the {}", "{} of {}", "{} and {}", "{} to {}", "{} or {}", "{} for {}")
_LINKS = frozenset("of for to with in on and or my your the a about from by".split())
_STOP = (
    frozenset(
        """
    i me my we our you your he she it its they them their this that these those is are was were be been being am do
    does did doing have has had having will would can could should may might must shall not no nor so than too very
    just but if then else when where why how what which who whom there here all any both each few more most other some
    such only own same s t don didn doesn isn wasn couldn wouldn let please tell know need want like get got make made
    one two also would into out up down over under again once because as until while at after before said says new
    went go goes going gone come came came see saw seen look looks looked heard hear use used using threw give gave
    given take took taken put find found many much every another something anything someone thing things even really
    ever never always still well lot even yes day time way first last long
    """.split()
    )
    | _LINKS
)


def embed(folder: Path, texts: Sequence[str], *, batch: int = 128, longest: int = 48) -> Matrix:
    """Unit-length mean-pooled sentence embeddings, computed in order of length and returned in order of texts."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), batch):
        ids = order[start : start + batch]
        inputs = tokenizer([texts[i] for i in ids], padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled = (states * mask).sum(1) / mask.sum(1)
        out[ids] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return out


@cache
def content_words(text: str) -> frozenset[str]:
    """Word stems that carry meaning, for the question whether a label is literally in a text."""
    return frozenset(word[:5] for word in re.findall(r"[a-z]+", text.lower()) if word not in _STOP and len(word) > 2)


def phrases_of(text: str) -> Iterable[str]:
    """Runs of one to four words that begin and end with a word that carries meaning."""
    words = re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower())
    for size in (1, 2, 3, 4):
        for start in range(len(words) - size + 1):
            gram = words[start : start + size]
            ends_bare = gram[0] not in _STOP and gram[-1] not in _STOP and min(len(gram[0]), len(gram[-1])) > 2
            if ends_bare and all(word in _LINKS or word not in _STOP for word in gram[1:-1]):
                yield " ".join(gram)


def proper_names(texts: Iterable[str]) -> set[str]:
    """Words that are mostly written with a capital inside a sentence: poor labels for other sentences."""
    capital: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for text in texts:
        for word in re.findall(r"(?<=[a-z,] )[A-Za-z]+", text):
            every[word.lower()] += 1
            capital[word.lower()] += word[0].isupper()
    return {word for word, count in capital.items() if count > 0.5 * every[word]}


def mine_phrases(texts: Sequence[str], *, forbidden: set[str], limits: tuple[int, int, int]) -> list[str]:
    """The most widely used phrases: so many of one word, of two words, and of three or four."""
    counts: Counter[str] = Counter()
    names = proper_names(texts)
    for text in texts:
        counts.update(p for p in set(phrases_of(text)) if names.isdisjoint(p.split()))
    kept: list[str] = []
    for size, limit in enumerate(limits):
        sized = [(n, p) for p, n in counts.items() if min(p.count(" "), 2) == size and n >= 2 and p not in forbidden]
        kept += [phrase for _, phrase in sorted(sized, reverse=True)[:limit]]
    return kept


def compound_phrases(phrases: Sequence[str], count: int, rng: random.Random, *, forbidden: set[str]) -> list[str]:
    """Label-like names ('flight problem', 'change of address') from mined words and a few heads of labels."""
    nouns = [p for p in phrases if " " not in p and not p.endswith(("ly", "ed", "ing", "'s"))][:2500]
    made = {rng.choice(_LABEL_SHAPES).format(rng.choice(nouns), rng.choice(_LABEL_HEADS)) for _ in range(count)}
    return sorted(made - forbidden - set(phrases))


def literal_problem(texts: Sequence[str], others: Sequence[str], rng: random.Random) -> tuple[list[str], list[tuple[str, str]]]:
    """A name for each text with words of its own, and the (text, name) pairs that shared words alone decide.

    Half of the names are a run of the text's words; the others put one of its words beside a word that it lacks. In some problems
    many names begin with the same word, so that only what follows tells them apart.
    """
    head = rng.choice(others) if rng.random() < SAME_HEAD else None
    text_of: dict[str, str] = {}
    for text in texts:
        phrases = [phrase for phrase in phrases_of(text) if len(phrase) < 40]
        if phrases:
            text_of[_literal_name(rng.choice(phrases), others, rng, head)] = text
    names = rng.sample(sorted(text_of), len(text_of))
    words = [content_words(name) for name in names]
    found: list[tuple[str, str]] = []
    for name in names:
        said = content_words(text_of[name])
        shared = sorted((len(of & said) for of in words), reverse=True)
        if len(words) > 1 and len(content_words(name) & said) == shared[0] > shared[1]:
            found.append((text_of[name], name))
    rng.shuffle(found)
    return names, found


def _literal_name(phrase: str, others: Sequence[str], rng: random.Random, head: str | None) -> str:
    if rng.random() < 0.5 and head is None:
        return phrase
    word = rng.choice([word for word in phrase.split() if word not in _STOP])
    if head and rng.random() < 0.7:
        return f"{head} {word}"
    other = rng.choice(_LABEL_HEADS) if rng.random() < 0.3 else rng.choice(others)
    return rng.choice(_PAIR_SHAPES).format(*rng.sample((word, other), 2))


def _top(rows: Matrix, columns: Matrix, count: int) -> NDArray[np.int32]:
    """For each row the indices of its nearest columns, nearest first; blocks keep the memory small."""
    found = np.zeros((len(rows), count), dtype=np.int32)
    for start in range(0, len(rows), 2048):
        block = torch.from_numpy(rows[start : start + 2048]) @ torch.from_numpy(columns).T
        found[start : start + 2048] = block.topk(count, dim=1).indices.numpy()
    return found


class MatchingBank:
    """Texts and phrases with their embeddings, from which matching problems are drawn without end."""

    def __init__(self, texts: list[str], phrases: list[str], text_vectors: Matrix, phrase_vectors: Matrix, *, requests: int = 0) -> None:
        """The last `requests` texts are user requests; they are drawn as often as all the others together."""
        self.texts, self.phrases, self.requests = texts, phrases, requests
        self.text_vectors, self.phrase_vectors = text_vectors, phrase_vectors
        self.words = [phrase for phrase in phrases if " " not in phrase]
        self.phrases_near_text = _top(text_vectors, phrase_vectors, 32)
        self.texts_near_phrase = _top(phrase_vectors, text_vectors, 64)
        self.phrases_near_phrase = _top(phrase_vectors, phrase_vectors, 8)
        self.beginning_with: dict[str, list[int]] = defaultdict(list)
        for place, phrase in enumerate(phrases):
            self.beginning_with[phrase.split()[0]].append(place)

    def meanings(self) -> tuple[dict[str, int], Matrix]:
        """Every text and phrase with the row of its vector, and the vectors."""
        return {said: row for row, said in enumerate(self.texts + self.phrases)}, np.concatenate([self.text_vectors, self.phrase_vectors])

    def draw_text(self, rng: random.Random) -> int:
        if self.requests and rng.random() < 0.5:
            return len(self.texts) - 1 - rng.randrange(self.requests)
        return rng.randrange(len(self.texts))

    def phrase_for(self, text: int, rng: random.Random) -> int:
        """A phrase near the text; mostly one that shares no content word with it."""
        near = [int(p) for p in self.phrases_near_text[text]]
        if rng.random() < 0.65:
            words = content_words(self.texts[text])
            unseen = [p for p in near if not content_words(self.phrases[p]) & words]
            near = unseen or near
        return near[min(int(rng.expovariate(0.12)), len(near) - 1)]

    def clear_winner(self, text: int, options: Sequence[int]) -> int | None:
        """Position of the option that clearly fits best, or None."""
        scores = self.phrase_vectors[list(options)] @ self.text_vectors[text]
        order = np.argsort(scores)
        best, second = float(scores[order[-1]]), float(scores[order[-2]])
        return int(order[-1]) if best >= NEARNESS and best - second >= MARGIN else None

    def text_for(self, phrase: int, rng: random.Random) -> int:
        """A text near the phrase; for every second one, if there is any, one that shares no content word with it."""
        near = [int(text) for text in self.texts_near_phrase[phrase]]
        if rng.random() < 0.5:
            words = content_words(self.phrases[phrase])
            near = [text for text in near if not content_words(self.texts[text]) & words] or near
        return rng.choice(near)

    def options_around(self, phrases: Sequence[int], count: int, rng: random.Random, *, hard: float) -> list[int]:
        """The given phrases plus distractors, a share of them akin to the given ones, shuffled."""
        chosen = list(dict.fromkeys(phrases))
        for _ in range(count * 4):
            if len(chosen) >= count:
                break
            candidate = self._akin(rng.choice(chosen), rng) if rng.random() < hard else self.phrase_for(self.draw_text(rng), rng)
            if candidate not in chosen:
                chosen.append(candidate)
        rng.shuffle(chosen)
        return chosen

    def _akin(self, phrase: int, rng: random.Random) -> int:
        """A phrase about nearly the same, or one that begins with the same word."""
        if rng.random() < 0.5:
            return self.phrase_for(int(rng.choice(self.texts_near_phrase[phrase])), rng)
        return rng.choice(self.beginning_with[self.phrases[phrase].split()[0]])

    def problem(self, options: int, items: int, rng: random.Random, *, hard: float) -> tuple[list[int], list[tuple[int, int]]]:
        """(phrase indices, [(text index, position of the right phrase)]); both may be fewer than asked."""
        draw = self.of_texts if rng.random() < 0.5 else self.of_options
        return draw(options, items, rng, hard=hard)

    def of_texts(self, options: int, items: int, rng: random.Random, *, hard: float) -> tuple[list[int], list[tuple[int, int]]]:
        """Texts as people write them, among whose names others are hidden."""
        seeds = [self.draw_text(rng) for _ in range(min(items, max(1, options // 2)))]
        chosen = self.options_around([self.phrase_for(text, rng) for text in seeds], options, rng, hard=hard)
        texts = seeds + [int(rng.choice(self.texts_near_phrase[rng.choice(chosen)])) for _ in range(items - len(seeds))]
        rng.shuffle(texts)
        answers = [(text, self.clear_winner(text, chosen)) for text in dict.fromkeys(texts)]
        return chosen, [(text, answer) for text, answer in answers if answer is not None]

    def of_options(self, options: int, items: int, rng: random.Random, *, hard: float) -> tuple[list[int], list[tuple[int, int]]]:
        """Only what clearly fits some text is listed, and each phrase is as likely to be asked for as the others.

        Else those that look like requests, which fit texts more often than others do, would be preferred whatever the text says.
        """
        drawn = self.options_around([self.phrase_for(self.draw_text(rng), rng)], 2 * options, rng, hard=hard)
        fitting = list(self._fitting(drawn, rng).items())[:options]
        asked = rng.choices(range(len(fitting)), k=items) if fitting else []
        answers = {rng.choice(fitting[place][1]): place for place in asked}
        return [phrase for phrase, _ in fitting], list(answers.items())

    def _fitting(self, phrases: Sequence[int], rng: random.Random) -> dict[int, list[int]]:
        """{phrase: texts that it clearly fits best of all}, without the phrases that have none."""
        found: dict[int, list[int]] = defaultdict(list)
        for text in {self.text_for(phrase, rng) for phrase in phrases for _ in range(3)}:
            if (place := self.clear_winner(text, phrases)) is not None:
                found[phrases[place]].append(text)
        return {phrase: found[phrase] for phrase in phrases if phrase in found}

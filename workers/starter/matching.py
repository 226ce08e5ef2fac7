"""Open-vocabulary matching: which of K short phrases a sentence is about, as judged by the original MiniLM.

Knows sentence embeddings and margins; must not know prompt formats. Only clear cases are kept, so the labels are
those a reader would mostly agree with.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

Matrix = NDArray[np.float32]

MARGIN = 0.10  # the right phrase is this much nearer than every other option
NEARNESS = 0.28  # and at least this near in absolute terms (cosine)
_LINKS = frozenset("of for to with in on and or my your the a about from by".split())
_STOP = frozenset(
    """
    i me my we our you your he she it its they them their this that these those is are was were be been being am do
    does did doing have has had having will would can could should may might must shall not no nor so than too very
    just but if then else when where why how what which who whom there here all any both each few more most other some
    such only own same s t don didn doesn isn wasn couldn wouldn let please tell know need want like get got make made
    one two also would into out up down over under again once because as until while at after before said says new
    """.split()
) | _LINKS


def embed(folder: Path, texts: Sequence[str], *, batch: int = 128, longest: int = 48) -> Matrix:
    """Unit-length mean-pooled sentence embeddings, computed in order of length and returned in order of texts."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), batch):
        ids = order[start : start + batch]
        inputs = tokenizer(
            [texts[i] for i in ids], padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled = (states * mask).sum(1) / mask.sum(1)
        out[ids] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return out


def content_words(text: str) -> set[str]:
    """Word stems that carry meaning, for the question whether a label is literally in a text."""
    return {word[:5] for word in re.findall(r"[a-z]+", text.lower()) if word not in _STOP and len(word) > 2}


def _phrases_of(text: str) -> Iterable[str]:
    words = re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower())
    for size in (1, 2, 3, 4):
        for start in range(len(words) - size + 1):
            gram = words[start : start + size]
            ends_bare = gram[0] not in _STOP and gram[-1] not in _STOP and min(len(gram[0]), len(gram[-1])) > 2
            if ends_bare and all(word in _LINKS or word not in _STOP for word in gram[1:-1]):
                yield " ".join(gram)


def mine_phrases(texts: Iterable[str], *, forbidden: set[str], limit: int) -> list[str]:
    """The most widely used one- to four-word phrases; longer ones are rarer and count more."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(_phrases_of(text)))
    wanted = [
        (count * (1 + 3 * phrase.count(" ")), phrase)
        for phrase, count in counts.items()
        if count >= (5 if " " not in phrase else 2) and phrase not in forbidden
    ]
    return [phrase for _, phrase in sorted(wanted, reverse=True)[:limit]]


def _top(rows: Matrix, columns: Matrix, count: int) -> NDArray[np.int32]:
    """For each row the indices of its nearest columns, nearest first; blocks keep the memory small."""
    found = np.zeros((len(rows), count), dtype=np.int32)
    for start in range(0, len(rows), 2048):
        block = torch.from_numpy(rows[start : start + 2048]) @ torch.from_numpy(columns).T
        found[start : start + 2048] = block.topk(count, dim=1).indices.numpy()
    return found


class MatchingBank:
    """Texts and phrases with their embeddings, from which matching problems are drawn without end."""

    def __init__(self, texts: list[str], phrases: list[str], text_vectors: Matrix, phrase_vectors: Matrix) -> None:
        self.texts, self.phrases = texts, phrases
        self.text_vectors, self.phrase_vectors = text_vectors, phrase_vectors
        self.phrases_near_text = _top(text_vectors, phrase_vectors, 32)
        self.texts_near_phrase = _top(phrase_vectors, text_vectors, 64)
        self.phrases_near_phrase = _top(phrase_vectors, phrase_vectors, 48)

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

    def options_around(self, phrases: Sequence[int], count: int, rng: random.Random, *, hard: float) -> list[int]:
        """The given phrases plus distractors, a share of them neighbours of the given ones, shuffled."""
        chosen = list(dict.fromkeys(phrases))
        for _ in range(count * 4):
            if len(chosen) >= count:
                break
            if rng.random() < hard:
                candidate = int(self.phrases_near_phrase[rng.choice(chosen), rng.randrange(12, 48)])
            else:
                candidate = rng.randrange(len(self.phrases))
            if candidate not in chosen:
                chosen.append(candidate)
        rng.shuffle(chosen)
        return chosen

    def problem(self, options: int, items: int, rng: random.Random, *, hard: float) -> tuple[list[int], list[tuple[int, int]]]:
        """(phrase indices, [(text index, position of the right phrase)]); items may be fewer than asked."""
        seeds = [rng.randrange(len(self.texts)) for _ in range(min(items, max(1, options // 2)))]
        chosen = self.options_around([self.phrase_for(text, rng) for text in seeds], options, rng, hard=hard)
        texts = seeds + [int(rng.choice(self.texts_near_phrase[rng.choice(chosen)])) for _ in range(items - len(seeds))]
        rng.shuffle(texts)
        answers = [(text, self.clear_winner(text, chosen)) for text in dict.fromkeys(texts)]
        return chosen, [(text, answer) for text, answer in answers if answer is not None]

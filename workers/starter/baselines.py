"""Plain baselines beside the model: majority, label-word overlap, TF-IDF with logistic regression.

Knows texts and labels; must not know the model or prompts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from workers.starter.matching import content_words


def accuracy(said: Sequence[str], right: Sequence[str]) -> tuple[int, int]:
    """(hits, rows)."""
    return sum(a == b for a, b in zip(said, right, strict=True)), len(right)


def wilson(hits: int, rows: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % score interval of a share."""
    share = hits / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return middle - half, middle + half


def lead(said: Sequence[str], others: Sequence[str], right: Sequence[str], z: float = 1.96) -> tuple[float, float, float]:
    """How much larger the share of right answers is than others' on the same rows, with the 95 % interval of the paired difference."""
    gains = [(a == c) - (b == c) for a, b, c in zip(said, others, right, strict=True)]
    mean = sum(gains) / len(gains)
    half = z * math.sqrt((sum(gain * gain for gain in gains) / len(gains) - mean * mean) / len(gains))
    return mean, mean - half, mean + half


def majority(train: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
    """The commonest training label among each row's options (the first listed one if none was seen)."""
    counts = Counter(train)
    return [max(names, key=lambda name: counts[name]) for names in options]


def word_overlap(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
    """The option that shares most content words with the text; ties go to the one listed first."""
    said: list[str] = []
    for text, names in zip(texts, options, strict=True):
        words = content_words(text)
        said.append(max(names, key=lambda name: len(content_words(name) & words)))
    return said


def tfidf_regression(train: Sequence[tuple[str, str]], texts: Sequence[str]) -> list[str]:
    """Word and word-pair TF-IDF with logistic regression, trained on all labelled rows."""
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000, C=10.0))
    model.fit([text for text, _ in train], [label for _, label in train])
    return [str(label) for label in model.predict(list(texts))]

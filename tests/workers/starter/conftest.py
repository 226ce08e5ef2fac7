"""Small stand-ins for the data, the matching bank and the tokenizer of the starter backbone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from workers.starter import backbone, episodes, matching, naming
from workers.starter.sources import Row, Task

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-.,:;?!'\"()[]|/=>*"


def write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Single characters as wordpieces, so that every text has tokens."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    return backbone.build_tokenizer(words)


@pytest.fixture
def bank() -> matching.MatchingBank:
    """Sixty phrases along sixty axes, and for each phrase two texts that clearly belong to it."""
    axes = np.eye(64, dtype=np.float32)[:60]
    texts = [f"a sentence number {place} about thing {place % 60}" for place in range(120)]
    phrases = [f"thing {place}" for place in range(59)] + ["thing"]
    padded = np.concatenate([axes, axes])
    return matching.MatchingBank(texts, phrases, padded, axes)


@pytest.fixture
def source(bank: matching.MatchingBank) -> episodes.EpisodeSource:
    intents = [Row(f"please {naming.plain_name(i)} number {n}", i) for i in naming.TRAINED_INTENTS for n in range(3)]
    reviews = [Row("it works", "positive"), Row("it broke", "negative")]
    tasks = {"t": [Task("t", "is water wet?", "yes"), Task("t", "is fire cold?", "no")]}
    return episodes.EpisodeSource(bank, intents, reviews, tasks)

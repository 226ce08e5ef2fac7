"""Reads the raw training data and says what is left out of it and why.

Knows file formats and licences; must not know prompts, tokens or the model. Banking77 is never read here.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from workers.starter.naming import HELD_OUT_INTENTS


class Row(NamedTuple):
    text: str
    label: str


class Task(NamedTuple):
    template: str
    prompt: str
    completion: str


# Prefixes of T0 template names that are not trained on.
LEFT_OUT = {
    "long documents, which do not fit the window": (
        "wiki_hop", "duorc", "cnn_dailymail", "xsum", "multi_news", "quoref",
    ),
    "licences for research or non-commercial use, or texts collected without one": (
        "gigaword", "samsum", "dream", "ag_news", "yelp_review_full", "sciq", "wiki_qa",
        "glue_mrpc", "glue_qqp", "app_reviews", "imdb", "rotten_tomatoes",
    ),
    "empty or constant answers in this sample": ("trec", "dbpedia_14"),
}  # fmt: skip

# Too long to be trained on as tasks, but free enough in licence to lend single sentences to the matching problems.
SENTENCE_DONORS = ("wiki_hop_original_choose_best_object_affirmative_1", "duorc_SelfRC_question", "quoref_Find_Answer")

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_NOT_A_SENTENCE = re.compile(r"^\s*-|[{}<>|=\\@_]|\b(question|answer|options?|context|paragraph|passage|fact \d)\b", re.I)


def _json_lines(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def clinc_rows(data: Path, split: str, *, held_out: bool) -> list[Row]:
    """CLINC150 rows of one split: either only the held-out intents or only the trained ones."""
    rows = _json_lines(data / "starter" / "clinc150.jsonl.gz")
    return [Row(row["text"], row["label"]) for row in rows if row["split"] == split and (row["label"] in HELD_OUT_INTENTS) == held_out]


def snips_rows(data: Path) -> list[Row]:
    """SNIPS, for evaluation only."""
    return [Row(row["text"], row["label"]) for row in _json_lines(data / "starter" / "snips.jsonl.gz")]


def all_t0_tasks(data: Path) -> dict[str, list[Task]]:
    """Every prompted task with an answer, by template."""
    tasks: dict[str, list[Task]] = defaultdict(list)
    for row in _json_lines(data / "starter" / "t0_50k.jsonl.gz"):
        if row["completion"].strip():
            tasks[row["template"]].append(Task(row["template"], row["prompt"].strip(), row["completion"].strip()))
    return tasks


def trained_tasks(tasks: dict[str, list[Task]]) -> dict[str, list[Task]]:
    """The tasks without the prefixes in LEFT_OUT and without templates whose answer is constant."""
    left_out = tuple(prefix for prefixes in LEFT_OUT.values() for prefix in prefixes)
    kept = {name: rows for name, rows in tasks.items() if not name.startswith(left_out)}
    return {name: rows for name, rows in kept.items() if len({row.completion for row in rows}) > 1}


def review_rows(tasks: dict[str, list[Task]]) -> list[Row]:
    """Amazon review texts with 'positive' or 'negative', taken out of one of their prompt templates."""
    rows = tasks.get("amazon_polarity_convey_negative_or_positive_sentiment", [])
    cut = [(re.sub(r"^Title: |\nDoes this product review.*$", "", row.prompt, flags=re.S), row) for row in rows]
    return [Row(text.replace("\nReview: ", ". "), row.completion.lower()) for text, row in cut]


def sentences(tasks: dict[str, list[Task]]) -> list[str]:
    """Distinct plain sentences of 4 to 34 words out of the prompts, for matching."""
    found: dict[str, None] = {}
    donors = {name: rows for name, rows in tasks.items() if name.startswith(SENTENCE_DONORS)}
    for rows in (trained_tasks(tasks) | donors).values():
        for row in rows:
            for piece in _SENTENCE_END.split(row.prompt):
                text = " ".join(piece.split())
                if 4 <= text.count(" ") + 1 <= 34 and len(text) < 220 and not _NOT_A_SENTENCE.search(text):
                    found.setdefault(text)
    return list(found)

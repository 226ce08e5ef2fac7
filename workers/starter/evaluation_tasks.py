"""The evaluation's data and wordings: rows with their options, and prompts that training never used.

Knows the three data sets and how they are asked; must not know the model.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from workers.starter import naming, sources

HERE = Path(__file__).parent
DEMONSTRATION = HERE.parent.parent / "experiments" / "demo"
SNIPS_NAMES = {
    "GetWeather": "weather forecast",
    "PlayMusic": "play music",
    "BookRestaurant": "book a restaurant",
    "SearchScreeningEvent": "movie showtimes",
    "RateBook": "rate a book",
    "SearchCreativeWork": "find a creative work",
    "AddToPlaylist": "add to playlist",
}

# Three wordings for each kind of task; {options} is a comma-separated list, {lines} has one option per line.
REQUEST_WORDINGS = (
    "Someone said this to a voice assistant. Say what they want.\nOptions: {options}\nSaid: {text}\nWanted:",
    "What does this person want to be done?\n{lines}\nPerson: {text}\nAction:",
    "{text}\nWhich of these actions was asked for: {options}?\nAnswer:",
)
QUEUE_WORDINGS = (
    "Route this bank customer to the right place.\nOptions: {options}\nMessage: {text}\nQueue:",
    "Customer support of a bank. Sort the mail into these trays:\n{lines}\nMail: {text}\nTray:",
    "{text}\nWhich of these does the bank's customer ask about: {options}?\nAnswer:",
)
BARE_QUEUE_WORDING = "Message: {text}\nQueue:"


class Case(NamedTuple):
    text: str
    label: str
    options: tuple[str, ...]


def prompt(wording: str, case: Case) -> str:
    lines = "\n".join(f"- {name}" for name in case.options)
    return wording.format(text=case.text, options=", ".join(case.options), lines=lines)


def clinc_cases(data: Path, split: str, options: int = 10) -> list[Case]:
    """Held-out intents: the right name among names drawn from the thirty, in random order."""
    rng = random.Random(150)
    names = sorted(naming.held_out_names())
    cases: list[Case] = []
    for row in sources.clinc_rows(data, split, held_out=True):
        label = naming.plain_name(row.label)
        drawn = [label, *rng.sample([name for name in names if name != label], options - 1)]
        rng.shuffle(drawn)
        cases.append(Case(row.text, label, tuple(drawn)))
    return cases


def _split_name(label: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).lower()


def snips_cases(data: Path, count: int, *, seed: int, readable: bool) -> list[Case]:
    """A sample of SNIPS with all seven options, either the data's own names or readable ones, in random order."""
    rng = random.Random(seed)
    names = {label: SNIPS_NAMES[label] if readable else _split_name(label) for label in SNIPS_NAMES}
    cases: list[Case] = []
    for row in rng.sample(sources.snips_rows(data), count):
        drawn = rng.sample(sorted(names.values()), len(names))
        cases.append(Case(row.text, names[row.label], tuple(drawn)))
    return cases


def queue_cases(split: str, folder: Path = DEMONSTRATION) -> list[Case]:
    """Banking77 rows of one split with their queue, and all queues in one fixed order."""
    with (folder / "queues.csv").open(encoding="utf-8", newline="") as lines:
        queue_of = {row["intent"]: row["queue"] for row in csv.DictReader(lines)}
    options = tuple(sorted(set(queue_of.values())))
    with (folder / "banking77" / f"{split}.csv").open(encoding="utf-8", newline="") as lines:
        return [Case(row["text"], queue_of[row["category"]], options) for row in csv.DictReader(lines)]


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    return random.Random(seed).sample(list(cases), min(count, len(cases)))


def shuffled(cases: Sequence[Case], seed: int) -> list[Case]:
    """The same rows with their options in another order for each row."""
    rng = random.Random(seed)
    return [Case(c.text, c.label, tuple(rng.sample(c.options, len(c.options)))) for c in cases]


def demonstrations(train: Sequence[Case], per_queue: int, seed: int, longest: int) -> str:
    """The same number of short training rows of each queue, shuffled, as 'Message ... Queue ...' lines."""
    rng = random.Random(seed)
    chosen: list[Case] = []
    for queue in train[0].options:
        short = [case for case in train if case.label == queue and len(case.text.split()) <= longest]
        chosen += rng.sample(short, per_queue)
    rng.shuffle(chosen)
    return "".join(f"Message: {case.text}\nQueue: {case.label}\n" for case in chosen)


def unrelated_texts(data: Path, count: int = 200) -> list[str]:
    """Opening words of news stories, which no training task used."""
    tasks = sources.all_t0_tasks(data)["cnn_dailymail_3_0_0_generate_story"]
    stories = list(dict.fromkeys(task.completion for task in tasks))
    return [" ".join(story.split()[:60]) for story in stories[:count]]

"""Which train rows stand in a prompt as examples: drawn by a seed, balanced over labels, or nearest to each row.

Reads train rows only. Knows the backbone's states, no templates and no scores.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.engine.backbone import Backbone
from workers.engine.baselines import mean_states, row_text
from workers.engine.errors import BadData
from workers.engine.spec import Item, RunSpec
from workers.engine.template_spec import Demonstration

_CHUNK = 1024


def draw_examples(train: Sequence[Item], policy: str, count: int, seed: int) -> list[Item]:
    """Rows for all prompts alike, the same ones for the same seed.

    Args:
        policy: "random" draws rows; "balanced" takes as many of each label as the count allows and draws which labels get one more.
        count: how many rows.
    Raises:
        BadData: there are fewer train rows than asked for.
    """
    if len(train) < count:
        raise BadData(f"The prompt is to show {count} examples, but there are {len(train)} train rows. Ask for fewer examples.")
    chance = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    rows = list(train)
    chance.shuffle(rows)
    if policy == "random":
        return rows[:count]
    queues: dict[str, list[Item]] = {}
    for row in rows:
        queues.setdefault(row.label, []).append(row)
    labels = sorted(queues)
    chosen: list[Item] = []
    while len(chosen) < count:
        chance.shuffle(labels)
        chosen += [queues[label].pop() for label in labels if queues[label]][: count - len(chosen)]
    # Models lean towards the label they read last, so the order is drawn too.
    chance.shuffle(chosen)
    return chosen


def shown(items: Sequence[Item]) -> tuple[Demonstration, ...]:
    """Rows as they stand in a template."""
    return tuple(Demonstration(item.fields, item.label, item.id) for item in items)


@dataclass(frozen=True)
class Neighbours:
    """Finds the train rows that the backbone sees as most alike.

    Args:
        spec: which columns are read.
        train: N rows that may be shown.
        directions: [N, H] their mean states, centred and of length 1.
        centre: [H] mean of the train rows' states.
    """

    spec: RunSpec
    backbone: Backbone
    train: Sequence[Item]
    directions: NDArray[np.float32]
    centre: NDArray[np.float32]
    count: int

    @classmethod
    def of(cls, spec: RunSpec, backbone: Backbone, train: Sequence[Item], count: int) -> "Neighbours":
        """Run every train row once through the backbone.

        Raises:
            BadData: there are fewer train rows than asked for.
        """
        if len(train) < count:
            raise BadData(f"The prompt is to show {count} examples, but there are {len(train)} train rows. Ask for fewer examples.")
        states = mean_states(backbone, [row_text(spec, item) for item in train])
        # States of one model point nearly the same way; what tells texts apart is what is left without their mean.
        centre = states.mean(axis=0)
        return cls(spec, backbone, train, _directions(states - centre), centre, count)

    def find(self, items: Sequence[Item]) -> list[list[Item]]:
        """For every row its nearest train rows by cosine, the nearest one last, where the row follows. A row never finds itself."""
        states = mean_states(self.backbone, [row_text(self.spec, item) for item in items])
        asked = _directions(states - self.centre)
        places = {item.id: place for place, item in enumerate(self.train)}
        found: list[list[Item]] = []
        for start in range(0, len(items), _CHUNK):
            likeness = asked[start : start + _CHUNK] @ self.directions.T
            for item, row in zip(items[start : start + _CHUNK], likeness, strict=True):
                order = np.argsort(-row, kind="stable")[: self.count + 1].tolist()
                best = [place for place in order if place != places.get(item.id)][: self.count]
                found.append([self.train[place] for place in reversed(best)])
        return found

    def tokens_of(self, item: Item) -> int:
        """Tokens that are run to find the neighbours of a row."""
        return len(self.backbone.tokenizer(row_text(self.spec, item), add_special_tokens=False)["input_ids"])


def _directions(states: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    directions: NDArray[np.float32] = states / np.maximum(lengths, 1e-12)
    return directions

"""Which train rows stand in a prompt as examples where every row has its own: those that the backbone sees as most alike.

Reads train rows only. Knows the backbone's states, no templates and no scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.engine.baselines import mean_states, row_text
from workers.engine.contract.spec import Item, RunSpec
from workers.engine.errors import BadData
from workers.engine.model.backbone import Backbone

_CHUNK = 1024


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

"""Which approach runs on which family of models, and why not where it does not. Knows no model library.

The answers stand in `capabilities.json`. They are not written by hand: the engine's golden tests find them out on tiny models and
prove the file equal to what they found.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from experiments.catalogue.kinds import RecipeKind
from experiments.catalogue.recipes import CATALOGUE

_FILE = Path(__file__).parent / "capabilities.json"


@dataclass(frozen=True)
class Capability:
    """One method on one family.

    Args:
        path: "shared" (what rows have in common is run once), "plain" (each row is run whole), "plain in training", "runs" (there is no
            prompt to share), or "refused".
        reason: why it is not "shared", in a sentence for "refused"; empty otherwise.
        note: a sentence where the method is not quite what its name says.
    """

    path: str
    reason: str = ""
    note: str = ""

    @property
    def is_refused(self) -> bool:
        return self.path == "refused"

    @property
    def is_slower(self) -> bool:
        return self.path.startswith("plain")


@dataclass(frozen=True)
class Family:
    """A family of models. `key` is transformers' model type, which a verified model's facts carry.

    variants: approaches, by their key in the catalogue, that do not do what their method does.
    """

    key: str
    title: str
    methods: Mapping[str, Capability]
    variants: Mapping[str, Capability]


@cache
def families() -> dict[str, Family]:
    """All families that were tried, in the order of the file."""
    rows = json.loads(_FILE.read_text(encoding="utf-8"))
    return {key: Family(key, row["title"], _capabilities(row["cells"]), _capabilities(row["variants"])) for key, row in rows.items()}


def _capabilities(cells: Mapping[str, Mapping[str, str]]) -> dict[str, Capability]:
    return {name: Capability(**cell) for name, cell in cells.items()}


def capability_of(family: object, kind: RecipeKind) -> Capability | None:
    """What is known of an approach on a family; None when the pair was never tried, and the engine decides when it loads the model."""
    row = families().get(family) if isinstance(family, str) else None
    return (row.variants.get(kind.key) or row.methods.get(kind.method)) if row else None


def method_names() -> dict[str, str]:
    """The methods that the catalogue offers and the file knows, by the names of their approaches: "Soft prompt · Hybrid"."""
    known = next(iter(families().values())).methods
    names: dict[str, list[str]] = {}
    for kind in CATALOGUE.values():
        if kind.method in known:
            names.setdefault(kind.method, []).append(kind.name)
    return {method: " · ".join(given) for method, given in names.items()}

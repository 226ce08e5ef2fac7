"""The settings that a tuned approach tries: step sizes first, then starts and widths, then other seeds. Reads tables, knows no model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

from workers.engine.contract.recipes import METHODS, OptionValue, rate_grid
from workers.engine.contract.spec import Recipe, RunSpec

Change = Mapping[str, OptionValue]
# Another seed of a configuration must not be the seed of another run.
_SEED_STEP = 1_000_003


@dataclass(frozen=True)
class Configuration:
    """One setting to try.

    Args:
        number: place in the list; 0 is the recipe as it was set.
        name: what is different in it.
    """

    number: int
    name: str
    spec: RunSpec

    def plain(self) -> dict[str, Any]:
        """Enough to try it again by itself, as plain JSON."""
        return {"options": dict(self.spec.recipe.options), "seed": self.spec.seed}


def configurations_of(spec: RunSpec, parameters: int, family: str) -> list[Configuration]:
    """The configurations of a sweep: the one that was set, other step sizes, other starts or widths, mixtures, then other seeds of all.

    Args:
        spec: says how many, and whether starts and widths vary too.
        parameters: weights of the backbone.
        family: the backbone's.
    """
    found: list[Configuration] = []
    for name, changed in islice(_in_order(spec, parameters, family), spec.num_configurations):
        found.append(Configuration(len(found), name, changed))
    return found


def _in_order(spec: RunSpec, parameters: int, family: str) -> Iterator[tuple[str, RunSpec]]:
    rates = list(rate_grid(spec.recipe.method, parameters, family))
    shapes = list(_shapes(spec)) if spec.recipe.options["varied"] == "all" else []
    changes: list[Change] = [{}, *rates, *shapes, *({**rate, **shape} for shape, rate in product(shapes, rates))]
    draw = 0
    while True:
        seen = set()
        for change in changes:
            changed = replace(spec, recipe=_changed(spec, change), seed=spec.seed + draw * _SEED_STEP)
            key = str(sorted(changed.recipe.options.items()))
            if key not in seen:
                seen.add(key)
                yield _name(spec, changed, draw), changed
        draw += 1


def _changed(spec: RunSpec, change: Change) -> Recipe:
    return replace(spec.recipe, options={**spec.recipe.options, **change, "configurations": 1})


def _shapes(spec: RunSpec) -> Iterator[Change]:
    """Starts and widths beside the one that was set; none that would change what a start from another tuned part has to fit."""
    options = spec.recipe.options
    if spec.start_from is not None:
        return
    # A learned part that is as long as the text it starts from has no other start.
    if "init" in options and options["num_virtual_tokens"]:
        words = ("template", "label_words", "vocabulary") if spec.labels else ("template", "vocabulary")
        yield from ({"init": word} for word in words if word != options["init"])
    for name, together in (("rank", "alpha"), ("width", ""), ("encoder_hidden_size", "")):
        if name in options:
            yield from _widths(spec, name, together)


def _widths(spec: RunSpec, name: str, together: str) -> Iterator[Change]:
    """Twice and half the width; what is divided by it grows and shrinks along, so that a step stays as large."""
    option, value = METHODS[spec.recipe.method].options[name], int(spec.recipe.options[name])  # type: ignore[arg-type]
    for factor in (2.0, 0.5):
        width = int(value * factor)
        if option.low <= width <= option.high:  # type: ignore[operator]
            scaled = {together: float(spec.recipe.options[together]) * factor} if together else {}  # type: ignore[arg-type]
            yield {name: width, **scaled}


def _name(spec: RunSpec, changed: RunSpec, draw: int) -> str:
    options = changed.recipe.options
    differing = {name: value for name, value in options.items() if value != spec.recipe.options[name] and name != "configurations"}
    parts = [
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in differing.items()
    ]
    return ", ".join([*parts, *([f"other draw {draw}"] if draw else [])]) or "as set"

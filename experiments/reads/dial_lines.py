"""What a run was asked, in the words of the form: each dial with its label and value, and whether somebody changed it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from experiments.catalogue.kinds import RecipeKind, RecipeOption
from experiments.catalogue.recipes import kind_of
from experiments.catalogue.step_sizes import usual_steps
from experiments.models import Approach


@dataclass(frozen=True)
class DialLine:
    """One dial. `name` is the engine's own word; `changed` says that somebody set another value than the default."""

    name: str
    label: str
    value: str
    changed: bool


def dial_lines(method: str, recipe: Mapping[str, Any], facts: Mapping[str, Any] = MappingProxyType({})) -> list[DialLine]:
    """The dials of an approach in the order in which they are stored; one that the catalogue no longer knows keeps its bare name.

    Args:
        facts: of its model, by which the defaults of some dials go.
    """
    kind = kind_of(method, recipe)
    return list(_lines(kind, recipe, usual_steps(method, facts)))


def kind_of_approach(approach: Approach) -> RecipeKind | None:
    """The line of the catalogue that an approach was made from; none where the catalogue no longer knows it."""
    shows_examples = bool(approach.template_version and approach.template_version.demonstrations)
    return kind_of(approach.method, approach.teaching | approach.recipe, shows_examples=shows_examples)


def _lines(kind: RecipeKind | None, recipe: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[DialLine]:
    options = {option.name: option for option in kind.options} if kind else {}
    for name, value in recipe.items():
        option = options.get(name)
        words = dict(option.choices).get(value, value) if option and not isinstance(value, list) else value
        changed = option is not None and value != usual.get(name, option.default)
        yield DialLine(name, option.label if option else name, _said(words, option), changed)


def _said(value: Any, option: RecipeOption | None) -> str:
    """The value with its unit, unless the label names the unit already."""
    if value is None:
        return "all"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    unit = option.unit if option and option.unit not in option.label.lower() else ""
    return f"{value} {unit}".strip() if value != "" else "–"

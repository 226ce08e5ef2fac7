"""What a line of the catalogue of approaches is: its dials with defaults, ranges and help.

Knows no particular approach; imports nothing of the project.
"""

from dataclasses import dataclass
from typing import TypeAlias

OptionValue: TypeAlias = int | float | str | list[str] | None

ENGINEERED, TUNED, HYBRID, BASELINE = "engineered", "tuned", "hybrid", "baseline"
FULL = "full"
NUM_INKS = 10  # as many as static/tokens.css has; with more approaches, colours come again with other shapes
# Plotly's names. Eight beside ten colours: no two of the first forty approaches share both.
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")


def hue_of(family: str, method: str) -> str:
    """The name of the colour an approach is drawn in: its family's; full fine-tuning is a reference and as grey as the baselines."""
    return FULL if method == FULL else family


def ink_of(position: int) -> str:
    """The name of the colour an approach has inside its comparison, by its place in the plan: its own up to NUM_INKS of them."""
    return f"approach-{position % NUM_INKS + 1}"


def shape_of(position: int) -> str:
    """The name of the mark an approach has inside its comparison, by its place in the plan."""
    return SHAPES[position % len(SHAPES)]


def mark_of(position: int) -> str:
    """The classes of the style sheet for the mark in front of an approach's name inside its comparison: its colour and its shape."""
    return f"ink-{ink_of(position)} shape-{shape_of(position)}"


@dataclass(frozen=True)
class RecipeOption:
    """One dial of an approach.

    Args:
        name: the engine's name.
        label: the name on the page.
        default: value when nobody sets it; its type decides how input is read. None stands for an optional list of names.
        help: one sentence for the person who sets it.
        low, high: inclusive range of a number.
        choices: (engine's word, word on the page) of a choice.
        fixed: the approach is what it is because of this value, so that no form offers it.
        shapes: it decides how large the learned part is, so that a start from another one must have the same value.
        teaches: it says what is learned from a teacher, not how the approach itself is made.
        sweep: it says what is tried beside the values that are set.
        by_model: what an empty field means, where that goes by the model (`step_sizes`).
    """

    name: str
    label: str
    default: OptionValue
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    fixed: bool = False
    shapes: bool = False
    teaches: bool = False
    sweep: bool = False
    by_model: str = ""

    @property
    def range_text(self) -> str:
        """The allowed range with its unit, such as "1 to 2,000 tokens"; empty when there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.low:,g} to {self.high:,.10g} {self.unit}".strip()


@dataclass(frozen=True)
class RecipeKind:
    """One line of the catalogue.

    Args:
        key: stable name in forms and in the API.
        method: the engine's method.
        demonstrations: True needs a prompt with examples, False one without, None takes either.
        taught: it learns from a teacher's answers instead of the rows' labels.
    """

    key: str
    name: str
    family: str
    method: str
    help: str
    options: tuple[RecipeOption, ...] = ()
    demonstrations: bool | None = None
    preselected: bool = False
    needs_train: bool = False
    taught: bool = False

    @property
    def is_tuned(self) -> bool:
        return self.family in (TUNED, HYBRID)

    @property
    def hue(self) -> str:
        return hue_of(self.family, self.method)

    def default_of(self, name: str) -> OptionValue:
        """Default of a dial; None when the approach has no such dial."""
        return next((option.default for option in self.options if option.name == name), None)

    @property
    def free_options(self) -> tuple[RecipeOption, ...]:
        """The dials that a form offers."""
        return tuple(option for option in self.options if not option.fixed)

"""A run's prompt as frozen dataclasses: its slots, the rows shown in it, its first step. Standard library only; knows no tokenizer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.spec_json import build
from workers.engine.errors import BadSpec

# A name has a longest length and no line break, so that matching takes time linear in the text.
_SLOT = re.compile(r"\{\{([^{}\r\n]{1,200})\}\}")
# The slot of the second prompt that the first step's text fills.
STEP = "step_1"


def slot_names(text: str) -> list[str]:
    """Column names of the {{column}} slots of a text; spaces around a name do not count, and no name is no slot."""
    return [name for match in _SLOT.finditer(text) if (name := _name_in(match))]


def fill(template: str, fields: Mapping[str, str]) -> str:
    """Replace {{column}} by the column's text, once; braces inside the data stay as they are."""
    return _SLOT.sub(lambda match: fields[name] if (name := _name_in(match)) else match.group(0), template)


def _name_in(slot: re.Match[str]) -> str:
    return slot.group(1).strip(" \t")


@dataclass(frozen=True)
class Demonstration:
    """A row shown inside the prompt together with its answer; `id` names the train row where it is one."""

    fields: Mapping[str, str]
    label: str
    id: str = ""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        return build(cls, value, "template.demonstrations")


@dataclass(frozen=True)
class FirstStep:
    """What the model writes about each row before it answers.

    Args:
        user: text with {{column}} slots; it stands alone, without the system text and the examples of the answer's prompt.
        writing: how the text is written and where it ends.
    """

    user: str
    writing: Generation = field(default_factory=Generation)

    def __post_init__(self) -> None:
        names = slot_names(self.user)
        if not names or STEP in names:
            raise BadSpec(f"The first step needs the slot of a column, and cannot show {{{{{STEP}}}}}, the text that it writes itself.")

    @classmethod
    def from_json(cls, value: Any) -> "FirstStep | None":
        return None if value is None else build(cls, value, "template.first_step", {"writing": Generation.from_json})


@dataclass(frozen=True)
class TemplateSpec:
    """A hard prompt: text with {{column}} slots. Slots are replaced by name once; nothing is evaluated.

    With a first step, what it writes about a row fills {{step_1}} in the prompt that answers.
    """

    user: str
    system: str = ""
    answer_cue: str = ""
    demonstrations: tuple[Demonstration, ...] = ()
    use_chat_template: bool | None = None
    first_step: FirstStep | None = None

    def slots(self) -> set[str]:
        """Names of all slots of the prompt that answers."""
        return {name for text in (self.system, self.user, self.answer_cue) for name in slot_names(text)}

    def columns(self) -> set[str]:
        """Names of all columns that a row must have."""
        return (self.slots() - {STEP}) | set(slot_names(self.first_step.user)) if self.first_step else self.slots()

    def bare(self) -> Self:
        """The row and what follows it, for an approach that learns what the text before it says: no system text, no examples."""
        first = next(match for match in _SLOT.finditer(self.user) if _name_in(match))
        return replace(self, user=self.user[first.start() :], system="", demonstrations=())

    def __post_init__(self) -> None:
        if not slot_names(self.user):
            raise BadSpec("The prompt has no slot, so every row would read the same. Add {{text}} where the row goes.")
        if self.first_step and STEP not in self.slots():
            raise BadSpec(f"The prompt has a first step, but no slot {{{{{STEP}}}}} where its text goes.")

    @classmethod
    def from_json(cls, value: Any) -> Self:
        readers = {"demonstrations": lambda rows: tuple(Demonstration.from_json(row) for row in rows), "first_step": FirstStep.from_json}
        return build(cls, value, "template", readers)


@dataclass(frozen=True)
class Variant:
    """Another wording that people have written for the same task, for a search to draw from."""

    name: str
    template: TemplateSpec
    answer_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        return build(cls, value, "variants", {"template": TemplateSpec.from_json, "answer_words": read_words})


def read_words(value: Any) -> dict[str, tuple[str, ...]]:
    """Answer words by label from parsed JSON; a word alone is a list of one."""
    return {label: (words,) if isinstance(words, str) else tuple(words) for label, words in value.items()}

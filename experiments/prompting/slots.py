"""The `{{column}}` slots of a prompt: finding and checking them by name, and nothing more.

A slot is `{{`, a column name, `}}`; spaces around the name do not count. The name holds no brace and no line break;
anything else stays as it was written. No template engine is involved and every function takes time linear in the text.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from experiments.wording import counted, listed

MAX_NAME = 200
MOST_OFFERED = 8


@dataclass(frozen=True)
class Slot:
    """One slot: its column name and the half-open range [start, end) of characters that it stands on."""

    name: str
    start: int
    end: int


def slot_iterate(text: str) -> Iterator[Slot]:
    """The slots of a text from left to right."""
    at = 0
    while (opened := text.find("{{", at)) >= 0 and (closed := text.find("}}", opened + 2)) >= 0:
        # The last opening before the closing braces: "{{{text}}" and "{{ see {{text}}" both hold {{text}}.
        opened = text.rfind("{{", opened, closed)
        name = text[opened + 2 : closed].strip(" \t")
        if is_slot_name(name):
            yield Slot(name, opened, closed + 2)
        at = closed + 2


def is_slot_name(name: str) -> bool:
    """Whether a slot can name this column."""
    return 0 < len(name) <= MAX_NAME and not any(character in name for character in "{}\r\n")


def slot_names(*texts: str) -> tuple[str, ...]:
    """The column names that the texts ask for, each once, in order of appearance."""
    return tuple(dict.fromkeys(slot.name for text in texts for slot in slot_iterate(text)))


def slot_problems(texts: Sequence[str], *, columns: Sequence[str], hidden: Collection[str] = ()) -> tuple[str, ...]:
    """What is wrong with a prompt's slots, one sentence each; empty when the prompt can be used.

    Args:
        texts: the prompt's parts (system text, user text).
        columns: the data's columns that a prompt may show.
        hidden: columns that would give the answer away (the label) or are not shown (the split).
    """
    names = slot_names(*texts)
    if not names:
        offered = slots_offered(columns)
        return (f"The prompt has no slot, so every row would give the same answer. Write {offered} where the row's text goes.",)
    sentences = []
    for name in names:
        if name in hidden:
            sentences.append(f"The slot {{{{{name}}}}} would show the answer to the model. Remove it from the prompt.")
        elif name not in columns:
            sentences.append(unknown_slot_sentence(name, columns))
    if len(sentences) > 10:
        sentences[10:] = [f"{counted(len(sentences) - 10, 'more slot')} cannot be filled."]
    return tuple(sentences)


def unknown_slot_sentence(name: str, columns: Sequence[str]) -> str:
    """Says that a slot has no column, and what to write instead: the column that was probably meant, else any that there is."""
    close = get_close_matches(name, columns, n=1) or [column for column in columns if column.casefold() == name.casefold()]
    remedy = f"Did you mean {_slot(close[0])}?" if close else f"Write {slots_offered(columns)} instead."
    if close and len(columns) > 1:
        remedy += f" The slots are {listed(map(_slot, columns), most=MOST_OFFERED)}."
    return f"The slot {_slot(name)} has no column in the data. {remedy}"


def slots_offered(columns: Sequence[str]) -> str:
    """The slots that can be written for these columns, as a sentence offers them: "{{title}} or {{message}}"."""
    return listed(map(_slot, columns or ["text"]), most=MOST_OFFERED, last="or")


def _slot(name: str) -> str:
    return f"{{{{{name}}}}}"

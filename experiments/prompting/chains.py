"""The first of two steps of a prompt: what the model writes about each row before it answers, and what may stand in it. Pure; no Django."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from experiments.prompting.slots import slot_names, slot_problems, slots_offered
from experiments.wording import counted

STEP = "step_1"  # the slot that its text fills; the engine has the same name for it
STEP_SLOT = f"{{{{{STEP}}}}}"
MAX_TEXT = 50_000
MAX_TOKENS = 1_024
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 100


@dataclass(frozen=True)
class FirstStep:
    """What the model is asked about a row before it answers.

    Args:
        text: the whole prompt of this step, with {{column}} slots; system text and examples belong to the answer alone.
        max_tokens: what it writes is cut there.
        stop: texts at which it ends; they are not part of it.
    """

    text: str
    max_tokens: int = 48
    stop: tuple[str, ...] = ("\n",)

    def ordered(self) -> "FirstStep":
        """The same as it is stored: plain line ends, no stop text twice."""
        plain = self.text.replace("\r\n", "\n").replace("\r", "\n")
        return FirstStep(plain, self.max_tokens, tuple(dict.fromkeys(stop for stop in self.stop if stop)))

    def to_json(self) -> dict[str, Any]:
        """The step as plain JSON values."""
        return {**asdict(self), "stop": list(self.stop)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FirstStep | None":
        """The step that `to_json` gave; None where a prompt has none."""
        return cls(value["text"], value["max_tokens"], tuple(value["stop"])) if value else None

    def ends(self) -> str:
        """Where its text ends, in a few words: "after 48 tokens or at the end of the line"."""
        stops = ["the end of the line" if stop == "\n" else f"“{stop}”" for stop in self.stop]
        return " or at ".join([f"after {counted(self.max_tokens, 'token')}", *stops])


def columns_asked(first: FirstStep | None, *answer_texts: str) -> set[str]:
    """The columns that a prompt's one or two steps show."""
    names = set(slot_names(*answer_texts))
    return (names - {STEP}) | set(slot_names(first.text)) if first else names


def steps_problems(
    first: FirstStep | None, answer_texts: Sequence[str], *, columns: Sequence[str], hidden: Collection[str] = ()
) -> Iterator[str]:
    """What is wrong with the slots of a prompt's one or two steps for some data, one sentence each."""
    known = [*columns, STEP] if first or STEP in slot_names(*answer_texts) else columns
    yield from slot_problems(answer_texts, columns=known, hidden=hidden)
    yield from first_step_problems(first, answer_texts, columns=columns, hidden=hidden)


def first_step_problems(
    first: FirstStep | None, answer_texts: Sequence[str], *, columns: Sequence[str] = (), hidden: Collection[str] = ()
) -> Iterator[str]:
    """What is wrong with a prompt's first step and the slot that shows its text, one sentence each.

    Args:
        answer_texts: the parts of the prompt that answers.
        columns: the data's columns; empty where no data is known.
        hidden: columns that a prompt must not show.
    """
    shows = STEP in slot_names(*answer_texts)
    if first is None:
        if shows and columns and STEP not in columns:
            yield f"The prompt shows {STEP_SLOT}, the text of a first step, but has none. Write one, or remove the slot."
        return
    if STEP in columns:
        yield f"The data has a column named {STEP}, and so is the slot of the first step. Name the column otherwise, or leave the step out."
    if not shows:
        yield f"The prompt does not show what the first step wrote. Write {STEP_SLOT} where its text goes, or remove the first step."
    yield from _text_problems(first, columns, hidden)
    if not 1 <= first.max_tokens <= MAX_TOKENS:
        yield f"The first step may write {first.max_tokens:,} tokens; it must be a number from 1 to {MAX_TOKENS:,}."
    if len(first.stop) > MAX_STOPS or any(len(text) > MAX_STOP_CHARACTERS for text in first.stop):
        yield f"Give the first step at most {MAX_STOPS} stop texts of 1 to {MAX_STOP_CHARACTERS} characters each."


def _text_problems(first: FirstStep, columns: Sequence[str], hidden: Collection[str]) -> Iterator[str]:
    if len(first.text) > MAX_TEXT:
        yield f"The first step has {len(first.text):,} characters, more than the {MAX_TEXT:,} allowed. Shorten it."
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for text in (first.text, *first.stop) for character in text):
        yield "The first step holds a character that no text has (NUL or half of a character). Remove it."
    names = slot_names(first.text)
    if STEP in names:
        yield f"The first step cannot show {STEP_SLOT}: that is the text that it writes itself. Remove the slot from it."
    elif not names:
        offered = slots_offered(columns)
        yield f"The first step has no slot, so it would write the same about every row. Write {offered} where the row’s text goes."
    elif columns:
        yield from (f"First step: {problem}" for problem in slot_problems([first.text], columns=columns, hidden=hidden))

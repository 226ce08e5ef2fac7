"""The words of a hard prompt: putting them in order, what is wrong with them, and how they read with a row filled in.

Pure: knows columns, labels and texts; no Django. The engine renders the same parts in the same order on the worker.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from experiments.prompting.chains import STEP, FirstStep, first_step_problems, steps_problems
from experiments.prompting.slots import slot_iterate, slot_problems, unknown_slot_sentence
from experiments.wording import counted, listed, quoted

MAX_TEXT = 50_000
MAX_CUE = 200
MAX_WORD = 200
MAX_DEMONSTRATIONS = 64
UNWRITTEN = "[what the model writes in the first step]"


class SlotUnfilled(ValueError):
    """A slot names a column that the row does not have."""


class FilledTooLong(ValueError):
    """The filled text would be longer than a page shows."""


@dataclass(frozen=True)
class PromptWording:
    """Everything a person writes for a prompt.

    Args:
        user: text with {{column}} slots.
        answer_cue: the words right before the answer, such as "Queue:"; it stands on a line of its own.
        answer_words: {label: words}; a label that is missing answers with its own name.
        demonstrations: [{example, fields, label}] in the order in which the model reads them.
        first_step: what the model writes about a row before it answers; its text fills {{step_1}}.
    """

    user: str
    system: str = ""
    answer_cue: str = ""
    answer_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    demonstrations: Sequence[Mapping[str, Any]] = ()
    first_step: FirstStep | None = None

    def ordered(self) -> "PromptWording":
        """The same wording as it is stored: plain line ends, no empty words, the answer cue on a line of its own."""
        user, cue = _plain(self.user), _plain(self.answer_cue).rstrip()
        if cue and not cue[0].isspace() and user and not user[-1].isspace():
            cue = "\n" + cue
        words = {label: list(dict.fromkeys(word.strip() for word in given if word.strip())) for label, given in self.answer_words.items()}
        return PromptWording(
            user=user,
            system=_plain(self.system).strip(),
            answer_cue=cue,
            answer_words={label: given for label, given in words.items() if given and given != [label]},
            demonstrations=[dict(shown) for shown in self.demonstrations],
            first_step=self.first_step.ordered() if self.first_step else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The wording as plain JSON values."""
        return {**asdict(self), "first_step": self.first_step.to_json() if self.first_step else {}}

    @property
    def sha256(self) -> str:
        """Equal for wordings that read the same."""
        # A prompt of one step keeps the hash that it had before there were two.
        said = {name: value for name, value in self.to_json().items() if value or name != "first_step"}
        text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def words_of(self, label: str) -> Sequence[str]:
        """The words that stand for a label, the first one first."""
        return self.answer_words.get(label) or [label]


@dataclass(frozen=True)
class DataShape:
    """What a prompt has to fit: the columns it may show, those it must not, and the labels (empty for extraction)."""

    columns: Sequence[str]
    hidden: Sequence[str] = ()
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Piece:
    """A stretch of a filled prompt; `column` names the slot it comes from, or is empty for the prompt's own words."""

    text: str
    column: str = ""


def wording_problems(wording: PromptWording, shape: DataShape | None) -> list[str]:
    """What is wrong with a wording, one sentence each; without data only what no data could mend."""
    problems = list(_text_problems(wording))
    texts = [wording.system, wording.user, wording.answer_cue]
    if shape is None:
        problems += first_step_problems(wording.first_step, texts)
        return problems + ([] if any(True for text in texts for _ in slot_iterate(text)) else list(slot_problems(texts, columns=[])))
    problems += steps_problems(wording.first_step, texts, columns=shape.columns, hidden=shape.hidden)
    if shape.labels:
        problems += _word_problems(wording, shape.labels)
        problems += _demonstration_problems(wording, shape.labels)
    return problems


def pieces_fill(text: str, fields: Mapping[str, str], *, limit: int = 20_000) -> list[Piece]:
    """The text cut at its slots, each filled with the row's value, so that a page can mark what came from the row.

    Values are put in once and never read again for slots.

    Raises:
        SlotUnfilled: a slot names a column that the row lacks.
        FilledTooLong: the result would be longer than `limit` characters.
    """
    pieces: list[Piece] = []
    at = length = 0
    for slot in slot_iterate(text):
        if slot.name not in fields:
            raise SlotUnfilled(unknown_slot_sentence(slot.name, tuple(fields)))
        pieces += [Piece(text[at : slot.start]), Piece(fields[slot.name], slot.name)]
        length += len(fields[slot.name])
        at = slot.end
    if length + len(text) > limit:
        raise FilledTooLong(f"The filled prompt is longer than the {limit:,} characters shown here.")
    return [piece for piece in [*pieces, Piece(text[at:])] if piece.text]


def demonstrations_fill(wording: PromptWording) -> list[Piece]:
    """The examples that a plain model reads between the system text and the row, each with its answer."""
    pieces = []
    for shown in wording.demonstrations:
        pieces += row_fill(wording, shown["fields"])
        pieces += [Piece(" " + wording.words_of(shown["label"])[0] + "\n\n")]
    return pieces


def row_fill(wording: PromptWording, fields: Mapping[str, str]) -> list[Piece]:
    """The part of the prompt that changes from row to row. A chat model's own marks come from its tokenizer."""
    known = {**fields, STEP: UNWRITTEN} if wording.first_step else fields
    return pieces_fill(wording.user + wording.answer_cue, known)


def first_step_fill(wording: PromptWording, fields: Mapping[str, str]) -> list[Piece]:
    """What the first of two steps reads; empty where there is one step only."""
    return pieces_fill(wording.first_step.text, fields) if wording.first_step else []


def wording_lines(wording: PromptWording) -> list[str]:
    """The wording as lines that can be compared with another version's."""
    lines = []
    if wording.first_step:
        lines += [f"First step: {line}" for line in wording.first_step.text.splitlines()] + [f"First step ends {wording.first_step.ends()}"]
    lines += [f"System: {wording.system}"] if wording.system else []
    lines += wording.user.splitlines()
    lines += [line for line in wording.answer_cue.splitlines() if line]
    lines += [f"{label} = {', '.join(words)}" for label, words in wording.answer_words.items()]
    return lines + [f"Example ({shown['label']}): {' / '.join(shown['fields'].values())}" for shown in wording.demonstrations]


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text_problems(wording: PromptWording) -> Iterator[str]:
    for name, text, most in (
        ("system text", wording.system, MAX_TEXT),
        ("prompt", wording.user, MAX_TEXT),
        ("beginning of the answer", wording.answer_cue, MAX_CUE),
    ):
        if len(text) > most:
            yield f"The {name} has {len(text):,} characters, more than the {most:,} allowed. Shorten it."
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
            yield f"The {name} holds a character that no text has (NUL or half of a character). Remove it."
    if len(wording.demonstrations) > MAX_DEMONSTRATIONS:
        shown = counted(len(wording.demonstrations), "example")
        yield f"The prompt shows {shown}, more than the {MAX_DEMONSTRATIONS} allowed. Keep the ones that teach the most."


def _word_problems(wording: PromptWording, labels: Sequence[str]) -> Iterator[str]:
    unknown = [label for label in wording.answer_words if label not in set(labels)]
    if unknown:
        yield f"There are answer words for {listed(map(quoted, unknown))}, which no row of the data has as its label. Remove them."
    owner: dict[str, str] = {}
    clashes = []
    for label in labels:
        for word in wording.words_of(label):
            if len(word) > MAX_WORD and label in wording.answer_words:
                yield f"The answer word {quoted(word)} has more than {MAX_WORD} characters. A word or two are enough."
            other = owner.setdefault(word.strip(), label)
            if other != label:
                clashes.append((word, other, label))
    for word, other, label in clashes[:5]:
        yield (
            f"{quoted(word)} stands for both {quoted(other)} and {quoted(label)}, so no answer could tell them apart. "
            "Give each label its own word."
        )


def _demonstration_problems(wording: PromptWording, labels: Sequence[str]) -> Iterator[str]:
    shown = dict.fromkeys(str(demonstration["label"]) for demonstration in wording.demonstrations)
    unknown = [label for label in shown if label not in set(labels)]
    if unknown:
        yield f"The prompt shows examples of {listed(map(quoted, unknown))}, which no row of the data has as its label. Remove them."

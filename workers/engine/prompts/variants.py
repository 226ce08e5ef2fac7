"""Other ways to word a prompt, made by rule: blocks dropped or moved, options listed differently, cues and answer words swapped.

Pure text; knows no model. A language model is not needed to write these, so that a search costs scoring only.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from workers.engine.contract.template_spec import TemplateSpec, Variant, slot_names

Words = Mapping[str, tuple[str, ...]]

_CUES = ("Answer:", "Category:", "Label:", "The best option is:")
_SORTING = (
    "Choose the option that fits best. Options: {options}.",
    "Which of these fits best: {options}?",
    "Read the text with care and name its category. The categories are: {options}.",
    "You sort texts. Answer with exactly one of: {options}.",
)
_EXTRACTING = (
    "Answer in as few words as possible, taken from the text.",
    "Read the text and copy the words that answer.",
    "Give only the answer, nothing else.",
)
_LISTS: tuple[tuple[str, Callable[[Sequence[str]], str]], ...] = (
    ("options with commas", ", ".join),
    ("options one a line", lambda options: "".join(f"\n- {option}" for option in options)),
    ("options with bars", " | ".join),
    ("options in quotes", lambda options: ", ".join(f'"{option}"' for option in options)),
)
# Between two listed options stand a few characters: a comma, a dash, "or".
_MOST_BETWEEN = 7
_SHOWN = 30


@dataclass(frozen=True)
class Instruction:
    """System and user text, with a few words on what is different in it."""

    name: str
    system: str
    user: str


def instructions_of(base: TemplateSpec, variants: Sequence[Variant], options: Sequence[str]) -> list[Instruction]:
    """The written instruction first, then the people's own variants, then the edits by rule; none twice.

    Args:
        options: what stands for each label, to be listed; empty when answers are free text.
    """
    found = [Instruction("", base.system, base.user)]
    found += [Instruction(f"words of {each.name}", each.template.system, each.template.user) for each in variants]
    found += _relisted(base, options)
    found += _rearranged(base)
    found += _reworded(base, options)
    unique = {(each.system, each.user): each for each in reversed(found) if slot_names(each.user)}
    return [each for each in found if unique.get((each.system, each.user)) is each]


def cues_of(base: TemplateSpec, variants: Sequence[Variant]) -> list[str]:
    """Words right before the answer: the written ones first."""
    own = [base.answer_cue, *(each.template.answer_cue for each in variants)]
    return list(dict.fromkeys([*own, *(cue for cue in _CUES if cue not in {each.strip() for each in own})]))


def placed_cue(cue: str, user: str) -> str:
    """A cue stands on a line of its own, unless somebody wrote it otherwise."""
    return cue if not cue or cue[0].isspace() or not user or user[-1].isspace() else "\n" + cue


def answer_words_of(labels: Sequence[str], base: Words, variants: Sequence[Variant]) -> list[tuple[str, dict[str, tuple[str, ...]]]]:
    """(name, answer words) sets: the written ones first. A set in which two labels would share a word is left out."""
    written = {label: base.get(label) or (label,) for label in labels}
    found: list[tuple[str, dict[str, tuple[str, ...]]]] = [("", written)]
    found += [(f"answer words of {each.name}", {label: each.answer_words.get(label) or (label,) for label in labels}) for each in variants]
    found += [
        ("labels as answer words", {label: (label,) for label in labels}),
        ("plain answer words", {label: (_plain(words[0]),) for label, words in written.items()}),
        ("first answer words", {label: words[:1] for label, words in written.items()}),
        ("one-word answers", {label: tuple(_plain(words[0]).split()[:1]) for label, words in written.items()}),
    ]
    unique: dict[tuple[tuple[str, ...], ...], tuple[str, dict[str, tuple[str, ...]]]] = {}
    for name, words in found:
        said = [word for label in labels for word in words[label]]
        if len(set(said)) == len(said) and all(words[label] for label in labels):
            unique.setdefault(tuple(words[label] for label in labels), (name, words))
    # The written words stay even when they clash: the run itself then says what is wrong with them.
    return list(unique.values()) or found[:1]


def _plain(word: str) -> str:
    return " ".join(re.sub(r"[_\-/]+", " ", word).casefold().split()) or word


def _relisted(base: TemplateSpec, options: Sequence[str]) -> Iterator[Instruction]:
    """The list of options written differently, or written at all."""
    if len(options) < 2:
        return
    for name, listed in _LISTS:
        for system, user in ((True, False), (False, True)):
            text = base.system if system else base.user
            if (span := _list_span(text, options)) is None:
                continue
            rest = text[span[1] :].removeprefix('"')
            changed = text[: span[0]].removesuffix('"').removesuffix("- ").rstrip("\n") + listed(options) + rest
            yield Instruction(name, changed if system else base.system, changed if user else base.user)
    if _list_span(base.system, options) is None and _list_span(base.user, options) is None:
        for name, listed in _LISTS[:2]:
            line = f"Choose from: {listed(options)}" + ("." if name == _LISTS[0][0] else "")
            yield Instruction(f"{name}, added", f"{base.system}\n\n{line}".strip(), base.user)


def _list_span(text: str, options: Sequence[str]) -> tuple[int, int] | None:
    """Where a text lists the options, one after another; None where it does not."""
    places = []
    # Longer options first, so that "card" is not found inside "card order".
    taken: list[tuple[int, int]] = []
    for option in sorted(options, key=len, reverse=True):
        for match in re.finditer(rf"(?<!\w){re.escape(option)}(?!\w)", text, re.IGNORECASE):
            if not any(start < match.end() and match.start() < end for start, end in taken):
                taken.append(match.span())
                places.append(match.span())
                break
    if len(places) < len(options):
        return None
    places.sort()
    if any(later[0] - earlier[1] > _MOST_BETWEEN for earlier, later in pairwise(places)):
        return None
    return places[0][0], places[-1][1]


def _rearranged(base: TemplateSpec) -> Iterator[Instruction]:
    """Blocks dropped and moved. A block with a slot is never dropped."""
    if base.system:
        yield Instruction("without the system text", "", base.user)
        yield Instruction("system text in front of every row", "", f"{base.system}\n\n{base.user}")
    parts, joint = _blocks(base.user)
    for place, part in enumerate(parts):
        if slot_names(part) or not part.strip():
            continue
        rest = [*parts[:place], *parts[place + 1 :]]
        yield Instruction(f"without “{_short(part)}”", base.system, joint.join(rest))
        if not base.system:
            yield Instruction(f"“{_short(part)}” once, as system text", part.strip(), joint.join(rest))
        if place:
            yield Instruction(f"“{_short(part)}” first", base.system, joint.join([part, *rest]))
        if place < len(parts) - 1:
            yield Instruction(f"“{_short(part)}” last", base.system, joint.join([*rest, part]))


def _reworded(base: TemplateSpec, options: Sequence[str]) -> Iterator[Instruction]:
    """The same task in other words, in front of the blocks that hold the row."""
    parts, joint = _blocks(base.user)
    row = joint.join(part for part in parts if slot_names(part)) + ("\n" if base.user.endswith("\n") else "")
    for sentence in _SORTING if len(options) > 1 else _EXTRACTING:
        wording = sentence.replace("{options}", ", ".join(options))
        yield Instruction(f"reworded: “{_short(wording)}”", wording, row)


def _blocks(text: str) -> tuple[list[str], str]:
    """Paragraphs, or lines where there is only one paragraph, and what joins them."""
    joint = "\n\n" if "\n\n" in text.strip() else "\n"
    return text.split(joint), joint


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"

"""What an answer means: which label the alternatives of its first tokens favour, else which label its text is. Pure.

Scores restrict the choice to the labels, as the engine's own scoring does. They decide only where what the endpoint did not tell
could not change the choice; where it could, the text decides, and so it does where it is a label in a spelling that the scores do not
know. A text that is no label is "no label", which counts as wrong.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workers.endpoint.client import Reply

Words = Mapping[str, Sequence[str]]
Alternatives = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Reading:
    """A label, or None; how it was found; and what is known of the labels' log-probabilities (nats)."""

    label: str | None
    how: str
    scores: dict[str, float] = field(default_factory=dict)


def read_label(reply: Reply, words: Words) -> Reading:
    """The label that an answer stands for.

    Args:
        words: {label: its answer words}.
    """
    scores, is_decided = score_labels(reply.top, words)
    text = read_text(reply.text, words)
    if is_decided and _is_of_text(reply):
        best = max(scores, key=scores.__getitem__)
        # Alternatives count for a label as it is written. What was answered counted for none when it is a label in another spelling,
        # “Refund” or quoted, so that the likeliest of all is missing among the scores.
        if text in (None, best) or owners_of(reply.text, words):
            return Reading(best, "log-probabilities", _with_floor(scores, reply.top, words))
    return Reading(text, "text" if text is not None else "no label")


def _is_of_text(reply: Reply) -> bool:
    """Whether the alternatives are those of the text. Some servers tell those of the thinking that they have cut off before it."""
    return reply.text.lstrip().startswith(reply.top[0][0][0].strip())


def read_text(text: str, words: Words) -> str | None:
    """The label that the text is: as written, else after normalisation (case, punctuation, spaces) of the text or its first line."""
    owners = {word.strip(): label for label, given in words.items() for word in given}
    stripped = text.strip()
    if stripped in owners:
        return owners[stripped]
    normalised: dict[str, set[str]] = {}
    for word, label in owners.items():
        normalised.setdefault(_plain(word), set()).add(label)
    for candidate in (stripped, stripped.split("\n", 1)[0]):
        found = normalised.get(_plain(candidate), set())
        if len(found) == 1 and _plain(candidate):
            return next(iter(found))
    return None


def score_labels(top: Sequence[Alternatives], words: Words) -> tuple[dict[str, float], bool]:
    """Log-probability that the alternatives told give to each label, and whether they decide.

    The tokens that were chosen are followed from left to right. An alternative belongs to a label when the text up to it is the
    beginning of that label's words and of no other's; a beginning that several labels share is followed further where it was chosen.
    They decide when the best label leads by more than everything that could still go to another: shared beginnings that were not
    followed, and what lies outside the alternatives told, of which no single token is likelier than the last one told.
    """
    mass: dict[str, float] = {}
    shared = 0.0
    begun, log_begun, smallest = "", 0.0, 0.0
    for alternatives in top:
        if not alternatives:
            break
        smallest = max(smallest, math.exp(log_begun + alternatives[-1][1]))
        chosen_at: tuple[str, float] | None = None
        for place, (token, value) in enumerate(alternatives):
            owners = owners_of(begun + token, words)
            if len(owners) == 1:
                owner = next(iter(owners))
                mass[owner] = mass.get(owner, 0.0) + math.exp(log_begun + value)
            elif owners and place == 0:
                chosen_at = (token, value)
            elif owners:
                shared += math.exp(log_begun + value)
        if chosen_at is None:
            break
        begun, log_begun = begun + chosen_at[0], log_begun + chosen_at[1]
    else:
        shared += math.exp(log_begun) if begun else 0.0
    ranked = sorted(mass.values(), reverse=True)
    rivals = max([*ranked[1:2], smallest if len(mass) < len(words) else 0.0], default=0.0)
    is_decided = bool(ranked) and ranked[0] > rivals + shared
    return {label: math.log(value) for label, value in mass.items() if value > 0}, is_decided


def owners_of(begun: str, words: Words) -> set[str]:
    """The labels that this text may still become, or is: one of their words begins with it, or it goes on after the end of one."""
    text = begun.lstrip()
    if not text:
        return set(words)  # white space alone rules nobody out
    return {label for label, given in words.items() if any(_fits(text, word.strip()) for word in given)}


def _fits(text: str, word: str) -> bool:
    if word.startswith(text) or word == text.rstrip():
        return True
    return text.startswith(word) and not text[len(word)].isalnum()


def _with_floor(scores: Mapping[str, float], top: Sequence[Alternatives], words: Words) -> dict[str, float]:
    """A score for each label: those that were not told get the most that they can have, the last alternative told."""
    floor = min(value for alternatives in top[:1] for _, value in alternatives)
    lowest = min([floor, *scores.values()])
    return {label: scores.get(label, lowest) for label in words}


def _plain(text: str) -> str:
    """Lower case, words only."""
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())

"""What loaded prompts are asked and what they reply, as plain values and as JSON lines. Standard library only; knows no model."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from workers.engine.errors import BadData

_LINES = 256


@dataclass(frozen=True)
class Request:
    """One row to be answered by one of the loaded prompts.

    Args:
        prompt: name that the prompt was loaded under.
        fields: the row's columns.
    """

    id: str
    prompt: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """The answer to one request; `error` says why there is none.

    Args:
        label: of a classification.
        loglikelihoods: per label, summed log-likelihood of its answer words (nats).
        text: of a free answer.
    """

    id: str
    prompt: str
    label: str | None = None
    loglikelihoods: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; only what there is."""
        plain: dict[str, Any] = {"id": self.id, "prompt": self.prompt}
        if self.label is not None:
            plain |= {"label": self.label, "loglikelihoods": dict(self.loglikelihoods)}
        found = {"text": self.text, "error": self.error}
        return plain | {name: value for name, value in found.items() if value is not None}


def answer_lines(lines: Iterable[str], answer: Callable[[Sequence[Request]], Sequence[Reply]]) -> Iterator[str]:
    """A JSON line for every line that is not empty, in order; a line that is no request gets a sentence and stops nothing.

    Args:
        lines: each {"id": text, "prompt": name, "fields": {column: text}}.
        answer: answers some requests at once.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    while some := list(islice(numbered, _LINES)):
        asked: list[Request | str] = []
        for number, line in some:
            try:
                asked.append(read_request(line))
            except BadData as error:
                asked.append(f"Line {number:,} {error.message}")
        replies = iter(answer([each for each in asked if isinstance(each, Request)]))
        for each in asked:
            plain = {"error": each} if isinstance(each, str) else next(replies).to_json()
            yield json.dumps(plain, ensure_ascii=False)


def read_request(line: str) -> Request:
    """A request from a JSON line.

    Raises:
        BadData: what is wrong with the line, as the end of a sentence.
    """
    try:
        value: Any = json.loads(line)
    except ValueError as error:
        raise BadData(f"is not JSON: {error}.") from error
    wanted = {"id": str, "prompt": str, "fields": dict}
    if not isinstance(value, dict) or any(not isinstance(value.get(name), kind) for name, kind in wanted.items()):
        raise BadData('must be an object with the texts "id" and "prompt" and the object "fields".')
    for name, text in value["fields"].items():
        if not isinstance(text, str):
            raise BadData(f"has the column {name!r}, which must be text, not {type(text).__name__}.")
    return Request(value["id"], value["prompt"], value["fields"])

"""How free answers are written and which form they must keep: what a person may ask for, with defaults, ranges and help.

Knows the engine's names as plain text (tests/architecture compares both); imports no model library and no Django.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from experiments.errors import UserError
from experiments.wording import quoted

# (fewest, most) of each number, ends included; top-p must be above 0.
RANGES: dict[str, tuple[float, float]] = {
    "max_new_tokens": (1, 4096),
    "temperature": (0.0, 5.0),
    "top_p": (0.0, 1.0),
    "seed": (0, 2**31 - 1),
    "min_characters": (0, 100_000),
    "max_characters": (0, 100_000),
}
NAMES = {
    "max_new_tokens": "The longest answer in tokens",
    "temperature": "The temperature",
    "top_p": "Top-p",
    "seed": "The seed of the draws",
    "min_characters": "The fewest characters",
    "max_characters": "The most characters",
}
HELP = {
    "max_new_tokens": "An answer that has not ended by then is cut there.",
    "temperature": "0 takes the likeliest word each time and gives the same answer again; higher draws more freely.",
    "top_p": "Draws come from the likeliest words that together reach this share. Only with a temperature.",
    "seed": "The same seed draws the same answers. Only with a temperature.",
    "stop": "Texts at which an answer ends, one a line; they are not part of it.",
    "json_schema": "Answers must be JSON that this schema (draft 2020-12) allows.",
    "pattern": "A regular expression that the whole answer must match.",
    "min_characters": "0 asks for no fewest length.",
    "max_characters": "0 asks for no most length.",
}
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 100
MAX_PATTERN = 1_000
MAX_SCHEMA = 20_000
FORM_FIELDS = ("json_schema", "pattern", "min_characters", "max_characters")


@dataclass(frozen=True)
class GenerationPlan:
    """The rules by which every approach of a comparison writes free answers, and the form that answers must keep.

    Args:
        stop: texts at which an answer ends.
        json_schema: None asks for no JSON.
        pattern: empty asks for none.
        min_characters, max_characters: 0 is no bound.
    """

    max_new_tokens: int = 32
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ("\n",)
    json_schema: Mapping[str, Any] | None = None
    pattern: str = ""
    min_characters: int = 0
    max_characters: int = 0

    @property
    def asks_for_form(self) -> bool:
        """Whether answers must keep any form, so that the share which does is a figure."""
        return any(getattr(self, name) for name in FORM_FIELDS) or self.json_schema is not None

    def to_json(self) -> dict[str, Any]:
        """The rules as plain JSON values."""
        return {**asdict(self), "stop": list(self.stop)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "GenerationPlan":
        """The rules that `to_json` gave; what is missing takes its default."""
        known = {field.name for field in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        return cls(**{**kept, "stop": tuple(kept["stop"])} if "stop" in kept else kept)

    def described(self) -> str:
        """The rules of writing in a sentence."""
        how = f"drawn with temperature {self.temperature:g}, top-p {self.top_p:g} and seed {self.seed}" if self.temperature else "greedy"
        ends = ["the end of the line" if stop == "\n" else quoted(stop) for stop in self.stop]
        return f"{how}, at most {self.max_new_tokens:,} tokens" + (f", ending at {' or '.join(ends)}" if ends else "")

    def asked_form(self) -> str:
        """The form that answers must keep, in a few words; empty when any will do."""
        parts = ["JSON by the schema"] if self.json_schema is not None else []
        parts += [f"matching {quoted(self.pattern)}"] if self.pattern else []
        parts += [f"at least {self.min_characters:,} characters"] if self.min_characters else []
        parts += [f"at most {self.max_characters:,} characters"] if self.max_characters else []
        return ", ".join(parts)

    def problems(self) -> Iterator[str]:
        """What no data could mend, a sentence each."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high or (name == "top_p" and not value):
                bound = "above 0 and at most 1" if name == "top_p" else f"from {low:,g} to {high:,.10g}"
                yield f"{NAMES[name]} is {value:g}; it must be {bound}."
        if 0 < self.max_characters < self.min_characters:
            yield "The fewest characters of an answer are more than the most. Swap them, or leave one at 0."
        if len(self.stop) > MAX_STOPS or any(not 0 < len(text) <= MAX_STOP_CHARACTERS for text in self.stop):
            yield f"Give at most {MAX_STOPS} stop texts of 1 to {MAX_STOP_CHARACTERS} characters each."
        yield from self._form_problems()

    def _form_problems(self) -> Iterator[str]:
        try:
            regex.compile(self.pattern[:MAX_PATTERN])
        except regex.error as error:
            yield f"The pattern {quoted(self.pattern[:80])} is no regular expression: {error}. Mend it, or leave it empty."
        if len(self.pattern) > MAX_PATTERN:
            yield f"The pattern has {len(self.pattern):,} characters; {MAX_PATTERN:,} are allowed."
        if self.json_schema is not None:
            yield from _schema_problems(self.json_schema)


def schema_read(text: str) -> dict[str, Any] | None:
    """A JSON schema as a person typed it; None for an empty text.

    Raises:
        UserError: it is not a JSON object.
    """
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise UserError("The JSON schema is nested too deeply. Make it flatter.") from error
    except ValueError as error:
        raise UserError(f"The JSON schema is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise UserError('The JSON schema must be a JSON object, such as {"type": "object"}.')
    return value


def _schema_problems(schema: Mapping[str, Any]) -> Iterator[str]:
    try:
        written = json.dumps(schema)
        Draft202012Validator.check_schema(dict(schema))
        resource = DRAFT202012.create_resource(dict(schema))
        lost = list(_lost_references(resource, Registry().resolver_with_root(resource)))
    except SchemaError as error:
        yield f"The JSON schema is not valid: {error.message[:200]}."
        return
    except RecursionError:
        yield "The JSON schema is nested too deeply. Make it flatter."
        return
    for reference in dict.fromkeys(lost):
        yield f"The JSON schema refers to {quoted(reference[:80])}, which it does not hold. Write that part into the schema."
    if len(written) > MAX_SCHEMA:
        yield f"The JSON schema has {len(written):,} characters; {MAX_SCHEMA:,} are allowed."
    # The library matches their names without a time limit, so a crafted name would stop the worker.
    if "patternProperties" in written:
        yield "The JSON schema uses patternProperties, which is not supported. Name the properties instead."


def _lost_references(resource: Any, resolver: Any) -> Iterator[str]:
    """References at any level of a schema that lead nowhere: nothing is fetched from elsewhere."""
    said = resource.contents if isinstance(resource.contents, dict) else {}
    for reference in filter(None, (said.get("$ref"), said.get("$dynamicRef"))):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            yield reference
    for part in resource.subresources():
        yield from _lost_references(part, resolver.in_subresource(part))

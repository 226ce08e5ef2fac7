"""Does an answer have the form that was asked for: JSON schema, regular expression, length. Knows no model and no file.

Schemas and patterns come from people: a pattern gets a time limit, a schema may fetch nothing.
"""

import json
from typing import Any, NoReturn

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from workers.engine.answer_rules import AnswerFormat
from workers.engine.errors import BadSpec

PATTERN_SECONDS = 0.5
_MOST_TIMEOUTS = 10


class FormatChecker:
    """Checks answers against one format.

    Raises:
        BadSpec: the schema or the pattern is none, or the schema uses what would run without a time limit.
    """

    def __init__(self, asked: AnswerFormat) -> None:
        self.asked = asked
        self._pattern = _compiled(asked.pattern) if asked.pattern else None
        self._schema = _validator(dict(asked.json_schema)) if asked.json_schema is not None else None
        self._timeouts = 0

    def problem(self, text: str) -> str | None:
        """What is wrong with the form of an answer, as a short sentence; None when nothing is."""
        asked = self.asked
        if len(text) < asked.min_characters:
            return f"It has {len(text):,} characters, fewer than {asked.min_characters:,}."
        if 0 < asked.max_characters < len(text):
            return f"It has {len(text):,} characters, more than {asked.max_characters:,}."
        return self._pattern_problem(text) or self._json_problem(text)

    def _pattern_problem(self, text: str) -> str | None:
        if self._pattern is None:
            return None
        # A pattern that backtracks without end would take the time limit for every row.
        if self._timeouts >= _MOST_TIMEOUTS:
            return "It was not matched: the pattern took too long on earlier answers."
        try:
            return None if self._pattern.fullmatch(text, timeout=PATTERN_SECONDS) else "It does not match the pattern."
        except TimeoutError:
            self._timeouts += 1
            return f"The pattern took longer than {PATTERN_SECONDS:g} seconds."

    def _json_problem(self, text: str) -> str | None:
        if self._schema is None:
            return None
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return "It is not JSON."
        try:
            error = next(self._schema.iter_errors(value), None)
        except (Unresolvable, RecursionError, TimeoutError) as failed:
            return f"The schema cannot be applied to it ({type(failed).__name__})."
        if error is None:
            return None
        place = "".join(f"[{part!r}]" for part in error.absolute_path)
        return f"{place or 'It'} breaks the schema’s rule “{error.validator}”."[:200]


def _compiled(pattern: str) -> Any:
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise BadSpec(f"The pattern {pattern[:80]!r} is no regular expression: {error}.") from error


def _validator(schema: dict[str, Any]) -> Any:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadSpec(f"The JSON schema is not valid: {error.message[:200]}.") from error
    except RecursionError as error:
        raise BadSpec("The JSON schema is nested too deeply. Make it flatter.") from error
    if "patternProperties" in json.dumps(schema):
        raise BadSpec("The JSON schema uses patternProperties, which has no time limit. Name the properties instead.")
    checked = extend(Draft202012Validator, {"pattern": _pattern_in_time})  # type: ignore[no-untyped-call]
    # An empty registry: a reference to another address is refused, never fetched.
    return checked(schema, registry=Registry())


def _pattern_in_time(validator: Any, pattern: str, instance: Any, schema: Any) -> Any:
    """The schema's keyword `pattern`, with the time limit that the library's own lacks."""
    if isinstance(instance, str) and not regex.search(pattern, instance, timeout=PATTERN_SECONDS):
        yield ValidationError("does not match")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

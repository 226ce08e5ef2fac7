"""Does an answer have the form that was asked for: JSON schema, regular expression, length. Knows no model and no file.

Schemas and patterns come from people: both get a time limit, and a schema may fetch nothing.
"""

import json
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from workers.engine.contract.answer_rules import AnswerFormat
from workers.engine.errors import BadSpec

PATTERN_SECONDS = 0.5
_MOST_TIMEOUTS = 10
_REFERENCES = ("$ref", "$dynamicRef")


class _Clock:
    """How long one answer may still be checked."""

    def __init__(self) -> None:
        self.ends = 0.0

    def start(self) -> None:
        self.ends = time.monotonic() + PATTERN_SECONDS

    def left(self) -> float:
        """Seconds.

        Raises:
            TimeoutError: there are none.
        """
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class FormatChecker:
    """Checks answers against one format.

    Raises:
        BadSpec: the schema or the pattern is none, or the schema refers to what it does not hold or would run without a time limit.
    """

    def __init__(self, asked: AnswerFormat) -> None:
        self.asked = asked
        self._pattern = _compiled(asked.pattern) if asked.pattern else None
        self._clock = _Clock()
        self._schema = _validator(dict(asked.json_schema), self._clock) if asked.json_schema is not None else None
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
        if self._timeouts >= _MOST_TIMEOUTS:
            return "It was not checked: the schema took too long on earlier answers."
        self._clock.start()
        try:
            error = next(self._schema.iter_errors(value), None)
        except TimeoutError:
            self._timeouts += 1
            return f"The schema took longer than {PATTERN_SECONDS:g} seconds."
        except (Unresolvable, RecursionError) as failed:
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


def _validator(schema: dict[str, Any], clock: _Clock) -> Any:
    try:
        Draft202012Validator.check_schema(schema)
        schema = _without_dialects(schema)
        resource = DRAFT202012.create_resource(schema)
        _check_parts(resource, Registry().resolver_with_root(resource))
    except SchemaError as error:
        raise BadSpec(f"The JSON schema is not valid: {error.message[:200]}.") from error
    except RecursionError as error:
        raise BadSpec("The JSON schema is nested too deeply. Make it flatter.") from error
    if "patternProperties" in json.dumps(schema):
        raise BadSpec("The JSON schema uses patternProperties, which has no time limit. Name the properties instead.")
    checked = extend(Draft202012Validator, _timed_rules(clock))  # type: ignore[no-untyped-call]
    # An empty registry: a reference to another address is refused, never fetched.
    return checked(schema, registry=Registry())


def _without_dialects(part: Any) -> Any:
    """The schema without "$schema": the library would go on with rules of its own below it, which know no time limit."""
    if isinstance(part, list):
        return [_without_dialects(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {name: _without_dialects(value) for name, value in part.items() if name != "$schema" or not isinstance(value, str)}


def _check_parts(resource: Any, resolver: Any) -> None:
    """Refuse references that lead nowhere, at every level of a schema."""
    said = resource.contents if isinstance(resource.contents, dict) else {}
    for reference in filter(None, map(said.get, _REFERENCES)):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise BadSpec(
                f"The JSON schema refers to {reference[:80]!r}, which it does not hold. Write that part into the schema."
            ) from error
    for part in resource.subresources():
        _check_parts(part, resolver.in_subresource(part))


def _timed_rules(clock: _Clock) -> dict[str, Any]:
    """The rules of a schema that can take without end: patterns, and references that lead to references."""

    def pattern_rule(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not regex.search(pattern, instance, timeout=clock.left()):
            yield ValidationError("does not match")

    def timed(rule: Any) -> Any:
        def checked(validator: Any, reference: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
            clock.left()
            yield from rule(validator, reference, instance, schema) or ()

        return checked

    return {"pattern": pattern_rule, **{name: timed(Draft202012Validator.VALIDATORS[name]) for name in _REFERENCES}}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

"""Parsed JSON -> frozen dataclasses, with a sentence for what does not fit. Standard library only; knows no particular spec."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from workers.engine.errors import BadSpec

T = TypeVar("T")


def one_of(value: str, allowed: tuple[str, ...], name: str) -> None:
    """Refuse a word that is none of the allowed ones.

    Raises:
        BadSpec: names the field and the words.
    """
    if value not in allowed:
        raise BadSpec(f"{name} is {value!r}; it must be one of: {', '.join(allowed)}.")


def build(cls: type[T], value: Any, where: str, readers: Mapping[str, Callable[[Any], Any]] | None = None) -> T:
    """A dataclass from a JSON object.

    Args:
        where: the object's name in sentences.
        readers: {field: reader} for values that are not plain.
    Raises:
        BadSpec: it is no object, or a key is unknown or missing, or a value is of the wrong kind.
    """
    if not isinstance(value, Mapping):
        raise BadSpec(f"{where} must be a JSON object, not {type(value).__name__}.")
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(value) - known)
    if unknown:
        raise BadSpec(f"{where} has the unknown key {unknown[0]!r}. Known keys: {', '.join(sorted(known))}.")
    readers = readers or {}
    try:
        return cls(**{key: readers[key](item) if key in readers else item for key, item in value.items()})
    except (TypeError, AttributeError) as error:
        raise BadSpec(f"{where} is incomplete or has a value of the wrong kind: {error}.") from error

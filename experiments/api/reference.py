"""The OpenAPI document as a person reads it: groups of operations with their fields. Knows the document's shape and no noun."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.wording import listed

Document = Mapping[str, Any]


@dataclass(frozen=True)
class FieldLine:
    name: str
    where: str
    kind: str
    required: bool
    text: str


@dataclass(frozen=True)
class OperationLine:
    verb: str
    path: str
    summary: str
    text: str
    fields: tuple[FieldLine, ...]
    success: str


@dataclass(frozen=True)
class Group:
    name: str
    operations: tuple[OperationLine, ...]


def operations_of(document: Document) -> list[Group]:
    """Groups of operations, in the order in which the API names them."""
    groups: dict[str, list[OperationLine]] = {}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(document, verb, path, operation))
    return [Group(name, tuple(operations)) for name, operations in groups.items()]


def _operation(document: Document, verb: str, path: str, operation: Document) -> OperationLine:
    return OperationLine(
        verb=verb.upper(),
        path=path,
        summary=operation["summary"],
        text=operation.get("description", ""),
        fields=(*_parameters(document, operation), *_body(document, operation)),
        success=", ".join(status for status in map(str, operation["responses"]) if status.startswith("2")),
    )


def _parameters(document: Document, operation: Document) -> Iterator[FieldLine]:
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        text = schema.get("description", "")
        yield FieldLine(parameter["name"], parameter["in"], _kind(document, schema), parameter.get("required", False), text)


def _body(document: Document, operation: Document) -> Iterator[FieldLine]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = _resolved(document, content["schema"])
        for name, field in schema.get("properties", {}).items():
            yield FieldLine(name, "body", _kind(document, field), name in schema.get("required", []), field.get("description", ""))


def _kind(document: Document, schema: Document) -> str:
    """A field's type in words, such as "list of text" or "refuse | truncate | skip"."""
    if "$ref" in schema:
        return _kind(document, _resolved(document, schema))
    if "allOf" in schema:  # a named part with a default of its own
        return _kind(document, schema["allOf"][0])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_kind(document, part) for part in schema["anyOf"] if part.get("type") != "null")
    if schema.get("type") == "array":
        return f"list of {_kind(document, schema.get('items', {}))}"
    if schema.get("properties"):
        return f"object with {listed(schema['properties'], most=8)}"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "object"}
    return {"uuid": "id", "date": "date", "binary": "file"}.get(schema.get("format", "")) or words.get(schema.get("type", ""), "any value")


def _resolved(document: Document, schema: Document) -> Document:
    if "$ref" not in schema:
        return schema
    resolved: Document = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return resolved

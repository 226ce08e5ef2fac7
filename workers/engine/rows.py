"""Reads the rows of a run from JSONL. Knows the shape of a row, nothing of prompts or models."""

import hashlib
import json
from pathlib import Path
from typing import Any

from workers.engine.contract.spec import FileRef, Item
from workers.engine.errors import BadData

MOST_TIMES = 100


def read_rows(ref: FileRef, labels: tuple[str, ...] = (), max_rows: int | None = None, *, labelled: bool = True) -> list[Item]:
    """All rows of a file, checked.

    Args:
        ref: the file; with a hash, its bytes must match it.
        labels: allowed labels; empty allows any text.
        max_rows: reads no further than this.
        labelled: whether every row needs a label; else none may have one.
    Raises:
        BadData: the file is missing, changed or empty, or a row breaks the rules; the sentence names the row.
    """
    path = Path(ref.path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadData(f"The file {path.name} cannot be read: {error.strerror}.") from error
    if ref.sha256 and hashlib.sha256(content).hexdigest() != ref.sha256:
        raise BadData(f"The file {path.name} is not the one this run was planned with: its SHA-256 differs.")
    try:
        lines = [line for line in content.decode("utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise BadData(f"The file {path.name} is not UTF-8 text (byte {error.start:,}).") from error
    items = [_read_row(line, f"Row {number:,} of {path.name}", labels, labelled) for number, line in enumerate(lines[:max_rows], 1)]
    if not items:
        raise BadData(f"The file {path.name} has no rows.")
    if len({item.id for item in items}) != len(items):
        raise BadData(f"The file {path.name} uses a row id twice. Every row needs an id of its own.")
    return items


def _read_row(line: str, where: str, labels: tuple[str, ...], labelled: bool) -> Item:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise BadData(f"{where} is not JSON: {error}.") from error
    if not isinstance(row, dict) or not {"id", "fields", "label"} <= set(row) or not isinstance(row["fields"], dict):
        raise BadData(f'{where} must be an object with "id", "fields" and "label".')
    fields = {str(name): value for name, value in row["fields"].items()}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise BadData(f"{where}: the column {name!r} must be text, not {type(value).__name__}.")
    _check_label(row["label"], where, labels, labelled)
    times = row.get("times", 1)
    if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= MOST_TIMES:
        raise BadData(f'{where}: "times" is {times!r}. It must be a whole number from 1 to {MOST_TIMES}, or be left out.')
    return Item(str(row["id"]), fields, row["label"], times)


def _check_label(label: object, where: str, labels: tuple[str, ...], labelled: bool) -> None:
    if not labelled:
        if label != "":
            raise BadData(f"{where} has the label {label!r}, but its rows are read as unlabelled. Leave the label empty.")
        return
    if not isinstance(label, str) or not label:
        raise BadData(f"{where}: the label is empty. Every row needs one.")
    if labels and label not in labels:
        raise BadData(f"{where}: the label {label!r} is not one of the {len(labels)} labels of this run.")

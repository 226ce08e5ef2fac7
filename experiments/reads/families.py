"""The table of approaches and model families, as a page shows it: words in the cells, the reasons once each below."""

from dataclasses import dataclass
from typing import Any

from experiments.catalogue.capabilities import Capability, Family, families, method_names
from experiments.catalogue.recipes import CATALOGUE

WORDS = {"shared": "yes", "runs": "yes", "refused": "no"}


@dataclass(frozen=True)
class FamilyCell:
    """One cell: its word, and the numbers of what is said about it below the table."""

    method: str
    word: str
    notes: tuple[int, ...]
    is_refused: bool


def family_table() -> dict[str, Any]:
    """Columns, rows and numbered reasons of the capability table."""
    columns = method_names()
    notes: dict[str, int] = {}
    rows = []
    for family in families().values():
        cells = [_cell(columns[method], family.methods[method], _variant_notes(family, method), notes) for method in columns]
        rows.append({"family": family, "cells": cells})
    return {"columns": list(columns.values()), "rows": rows, "notes": list(notes)}


def _variant_notes(family: Family, method: str) -> list[str]:
    """What is said of the approaches of a method that do not do what it does."""
    kinds = [CATALOGUE[key] for key in family.variants if CATALOGUE[key].method == method]
    return [f"{kind.name}: {family.variants[kind.key].reason}" for kind in kinds]


def _cell(name: str, capability: Capability, variant_notes: list[str], notes: dict[str, int]) -> FamilyCell:
    said = []
    if capability.reason:
        said.append(capability.reason if capability.is_refused else f"Each row is run whole, because {capability.reason}.")
    if capability.note:
        said.append(capability.note)
    said += variant_notes
    numbers = tuple(notes.setdefault(sentence, len(notes) + 1) for sentence in said)
    return FamilyCell(name, WORDS.get(capability.path, "slower"), numbers, capability.is_refused)

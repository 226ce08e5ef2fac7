"""The colour and the shape of each approach inside its comparison, the same in tables, curves and figures. Knows no query.

A record that was made before places in the plan were stored gets them by the order of its rows.
"""

from collections.abc import Mapping
from typing import Any

from experiments.catalogue.kinds import SHAPES, hue_of, ink_of, mark_of, shape_of


def line_ink(line: Mapping[str, Any]) -> str:
    """The colour of a row or line; its family's where its place in the plan is not known."""
    position = line.get("position")
    return hue_of(line["family"], line["method"]) if position is None else ink_of(position)


def line_shape(line: Mapping[str, Any]) -> str:
    """The shape of a row or line; the first one where its place in the plan is not known."""
    position = line.get("position")
    return SHAPES[0] if position is None else shape_of(position)


def line_mark(line: Mapping[str, Any]) -> str:
    """The classes of the mark in front of its name; its family's where its place in the plan is not known."""
    position, hue = line.get("position"), hue_of(line["family"], line["method"])
    return f"family-{hue}" if position is None else mark_of(position)


def placed(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A stored table whose rows and lines all know their place in the plan."""
    rows = [{"position": place, **row} for place, row in enumerate(payload.get("rows", []))]
    places = {row["name"]: row["position"] for row in rows}
    spending = [{"position": places.get(line["name"]), **line} for line in payload.get("spending") or []]
    return {**payload, "rows": rows, "spending": spending}

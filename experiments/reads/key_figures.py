"""What a manager looks for first: who is best, how right, how much better, at what price, and from which volume that pays.

Made of a stored table or of a report's snapshot; claims no more than the intervals allow. Knows no query.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.reads.headlines import WRITTEN, is_cheapest, measured_once, tied
from experiments.reads.table_view import Row, shown
from experiments.wording import counted


@dataclass(frozen=True)
class Pays:
    """A break-even as a figure: `name` and `value` such as "Pays from" and "65,350 requests", and what qualifies it."""

    name: str
    value: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class KeyFigures:
    """The best approach and what it is measured against.

    Args:
        baseline: None where there is none, or where it is the best itself.
        by_choice: whether a person chose the baseline; else it is the best written prompt.
        beside: who shares the first place with the best, or cannot be told apart from it.
    """

    best: Row
    baseline: Row | None
    by_choice: bool
    pays: Pays
    beside: tuple[str, ...]


def key_figures(payload: Mapping[str, Any]) -> KeyFigures | None:
    """The figures of a table; None where no approach has any."""
    rows = {row["approach"]: row for row in payload.get("rows", [])}
    best = rows.get(payload.get("best", ""))
    if best is None:
        return None
    baseline = rows.get(payload.get("baseline") or "")
    by_choice = bool(baseline and (payload.get("baseline_chosen") or baseline["family"] not in WRITTEN))
    against = baseline if baseline is not None and baseline is not best else None
    return KeyFigures(shown(best), against, by_choice, _pays(best, payload), _beside(best, payload))


def _beside(best: Row, payload: Mapping[str, Any]) -> tuple[str, ...]:
    """How many others are right as often, and how many more are not detectably different: a first place is seldom one approach's."""
    ties = tied(best, payload["rows"])
    more = set(payload.get("equals") or []) - {row["approach"] for row in ties}
    notes = []
    if ties:
        notes.append(f"{len(ties) + 1} approaches are right as often{'; it costs least' if is_cheapest(best, ties) else ''}")
    if more:
        others = f"{len(more)} more" if ties else counted(len(more), "other")
        notes.append(f"{others} {'is' if len(more) == 1 else 'are'} not detectably different")
    return tuple(notes)


def _pays(best: Row, payload: Mapping[str, Any]) -> Pays:
    """From which number of requests in all the best approach has cost less than the baseline."""
    ledger = payload.get("money") or {}
    line: Row = next((row for row in ledger.get("rows", []) if row["approach"] == best["approach"]), {})
    plain, priced = line.get("break_even"), line.get("break_even_with_mistakes")
    if plain is None:
        return Pays("Pays", "at once", ("nothing has to be paid back",))
    if plain["pays"] == "unknown":
        return Pays("Pays from", "unknown", (plain["sentence"].removeprefix("Unknown: "),))
    once = "" if plain["pays"] == "unclear" else measured_once(payload)
    notes = [once, _range(plain), _months(plain, ledger.get("demand") or {}), _mistakes(priced)]
    return Pays(*_worded(plain), tuple(note for note in notes if note))


def _worded(found: Mapping[str, Any]) -> tuple[str, str]:
    requests = counted(found.get("requests") or 0, "request")
    return {
        "from": ("Pays from", requests),
        "until": ("Pays up to", requests),
        "always": ("Pays", "at every volume"),
        "never": ("Pays", "at no volume"),
        "equal": ("Pays", "neither more nor less"),
        "unclear": ("Pays", "too close to call"),
    }.get(found["pays"], ("Pays first at", requests))


def _range(found: Mapping[str, Any]) -> str:
    """How sure the volume is, as far as the measurements tell."""
    if found["pays"] == "unclear":
        return "the measurements vary more than the costs differ"
    if found.get("low") is None:
        return ""
    return f"between {found['low']:,} and {found['high']:,}, as far as the measurements vary"


def _months(found: Mapping[str, Any], demand: Mapping[str, Any]) -> str:
    """The volume as time, at the demand that the comparison assumes."""
    monthly = float(demand.get("requests") or 0) / (demand.get("months") or 1)
    if found["pays"] != "from" or not monthly:
        return ""
    months = found["requests"] / monthly
    return f"{'less than a month' if months < 1 else f'{months:.1f} months'} at {monthly:,.0f} a month"


def _mistakes(priced: Mapping[str, Any] | None) -> str:
    """How the answer changes when wrong answers cost what the price book says."""
    if not priced or priced["pays"] == "unknown":
        return "wrong answers not priced"
    return "with wrong answers priced: " + " ".join(_worded(priced)).removeprefix("Pays ")

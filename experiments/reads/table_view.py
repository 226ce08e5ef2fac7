"""The stored comparison as a page shows it: columns by a fixed map, rows in the asked order. Knows no query and no request."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.evidence.verdicts import only_by_correction, points
from experiments.reads.inks import line_mark

Row = Mapping[str, Any]
TONES = {"better": "delta-better", "worse": "delta-worse", "no detectable difference": "delta-same"}


@dataclass(frozen=True)
class Column:
    """One sortable figure. `better` says which end comes first: "higher" or "lower"; text columns sort by name.

    Args:
        within: the key of the column in whose cells it stands, so that all columns fit a screen; empty where it has its own.
    """

    key: str
    label: str
    help: str
    value: Callable[[Row], Any]
    better: str = "higher"
    within: str = ""


def _at(*path: str) -> Callable[[Row], Any]:
    def value(row: Row) -> Any:
        found: Any = row
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    return value


def forgotten(row: Row) -> float | None:
    """Nats a token that the tuned model predicts unrelated text worse than before."""
    found = row.get("forgetting")
    return found["after"] - found["before"] if found else None


def agreed(row: Row) -> float | None:
    """Share of validation rows on which a taught approach answers as its teacher does."""
    found = row.get("agreement")
    return found["agreed"] / found["rows"] if found else None


def _cost(row: Row) -> float | None:
    amount = _at("cost", "per_thousand")(row)
    return float(amount) if amount is not None else None


MACRO_F1 = Column("macro_f1", "Macro-F1", "Mean F1 over the labels: small labels count as much as large ones.", _at("macro_f1"))
# Of free answers, in place of macro-F1: each mean over all rows with its bootstrap interval.
CLOSENESS = (
    Column("token_f1", "Token F1", "Words shared with the reference, mean over all rows (SQuAD).", _at("closeness", "token_f1", "value")),
    Column(
        "rouge_l",
        "ROUGE-L",
        "Longest run of words in the order of the reference, mean F1 over all rows.",
        _at("closeness", "rouge_l", "value"),
    ),
    Column("chrf", "chrF", "Runs of up to six letters shared with the reference, mean over all rows.", _at("closeness", "chrf", "value")),
    Column(
        "format",
        "Form kept",
        "Share of all rows whose answer has the form that was asked for.",
        _at("closeness", "format", "value"),
    ),
)
# A short prompt computes more than its context, which needs a reason: the trie of all answers is scored, not only the chosen one.
COMPUTED = Column(
    "computed",
    "Computed tokens",
    "Tokens run for a request once the prefix that all requests share is cached: the rest of the prompt and the answer words of every "
    "label, of which the context counts one. With a short prompt that is more than the context.",
    _at("tokens", "computed"),
    "lower",
    within="context",
)
COLUMNS = (
    Column("name", "Approach", "Sorted by name.", _at("name"), "lower"),
    Column(
        "accuracy",
        "Right",
        "Accuracy: right answers of all rows, with the 95% Wilson interval. No answer counts as wrong.",
        _at("accuracy"),
    ),
    Column(
        "delta",
        "Against baseline",
        "Difference in accuracy on the same rows, with its interval; the verdict is Holm-corrected for the number of comparisons.",
        _at("delta", "value"),
    ),
    MACRO_F1,
    Column("coverage", "Answered", "Coverage: rows that got an answer; errors and skipped rows beside it.", _at("coverage")),
    Column(
        "context",
        "Context tokens",
        "Tokens in a request's context: fixed prompt + row + learned (virtual) tokens + the one answer that was chosen.",
        _at("tokens", "context"),
        "lower",
    ),
    COMPUTED,
    Column(
        "billed",
        "Billed tokens",
        "Tokens that a hosted endpoint bills; a model of your own bills none.",
        _at("tokens", "billed"),
        "lower",
        within="context",
    ),
    Column("throughput", "Rows/s", "Throughput: rows scored a second, in batches.", _at("rows_per_second")),
    Column(
        "latency",
        "Latency",
        "Single requests: median and 95th percentile. On a model of your own alone and warm; of an endpoint the calls of the run.",
        _at("latency", "p50_ms"),
        "lower",
        within="throughput",
    ),
    Column("cost", "Cost per 1,000", "What 1,000 requests cost at the prices of the comparison, training not included.", _cost, "lower"),
    Column("training", "Training", "Seconds of training, without the looks at validation rows.", _at("train_seconds"), "lower"),
    Column("trainable", "Trained", "Trainable parameters and their share of the model.", _at("trainable"), "lower", within="training"),
    Column("artifact", "Size", "File size of the tuned prompt or adapter.", _at("artifact_bytes"), "lower", within="training"),
    Column(
        "forgetting",
        "Forgetting",
        "Change of the mean loss a token on a fixed text that has nothing to do with the task; above 0 the model has forgotten something.",
        forgotten,
        "lower",
    ),
    Column(
        "agreement",
        "As its teacher",
        "Of the validation rows that its teacher answered, the share that a distilled prompt answers alike; right or wrong does not count.",
        agreed,
    ),
)
BY_KEY = {column.key: column for column in (*COLUMNS, *CLOSENESS)}


@dataclass(frozen=True)
class Heading:
    """A column's head: where a click leads, and how the table is sorted now ("ascending", "descending" or "")."""

    column: Column
    query: str
    sorted: str


@dataclass(frozen=True)
class TableView:
    """The table of one split, ready to be drawn."""

    payload: Mapping[str, Any]
    rows: list[Row]
    headings: list[Heading]
    split: str
    sort: str

    @property
    def money_lines(self) -> list[dict[str, Any]]:
        return money_lines(self.payload)

    @property
    def price_lines(self) -> list[tuple[str, str]]:
        """(what, price) of each known price of the book."""
        book = (self.payload.get("money") or {}).get("book") or {"prices": {}}
        return [(PRICE_LABELS[field], value) for field, value in book["prices"].items()]

    @property
    def withheld(self) -> list[str]:
        """Why latencies are withheld, each reason once."""
        reasons = (_at("latency", "withheld")(row) for row in self.rows)
        return list(dict.fromkeys(reason.rstrip(".") for reason in reasons if reason))

    @property
    def corrected(self) -> int:
        """Among how many comparisons Holm's correction kept a verdict open that an interval alone would give; 0 when it kept none."""
        return max((row["delta"]["num_compared"] for row in self.rows if row["delta"] and row["delta"]["corrected"]), default=0)

    @property
    def any_latency(self) -> bool:
        """Whether any approach has a latency; else the column says nothing, and a sentence below the table says why."""
        return any(_at("latency", "p50_ms")(row) is not None for row in self.rows)

    @property
    def any_tuned(self) -> bool:
        """Whether anything was trained; else the columns about training say nothing."""
        return any(row.get("train_seconds") or row.get("trainable") or row.get("artifact_bytes") for row in self.rows)

    @property
    def any_swept(self) -> bool:
        """Whether any approach was chosen among several configurations; then each says among how many."""
        return any((row.get("configurations") or 1) > 1 for row in self.rows)

    @property
    def any_forgetting(self) -> bool:
        return any(row["forgotten"] is not None for row in self.rows)

    @property
    def computes_more(self) -> bool:
        """Whether a request of some approach computes more tokens than its context has: every label's answer words are run."""
        counts = [row.get("tokens") or {} for row in self.rows]
        return any((count.get("computed") or 0) > (count.get("context") or math.inf) for count in counts)

    @property
    def any_agreement(self) -> bool:
        return any(row["agreed"] is not None for row in self.rows)

    @property
    def shown_headings(self) -> list[Heading]:
        """The heads of the columns that say something."""
        return [heading for heading in self.headings if heading.column.key in self.shown_columns]

    @property
    def heading_groups(self) -> list[list[Heading]]:
        """The heads of each column of cells: its own figure, then those that stand below it in the same cell."""
        shown = self.shown_headings
        return [
            [heading, *(each for each in shown if each.column.within == heading.column.key)]
            for heading in shown
            if not heading.column.within
        ]

    @property
    def shown_columns(self) -> set[str]:
        """Keys of the columns that say something."""
        says = {
            "latency": self.any_latency,
            "billed": self.any_billed,
            "training": self.any_tuned,
            "trainable": self.any_tuned,
            "artifact": self.any_tuned,
            "forgetting": self.any_forgetting,
            "agreement": self.any_agreement,
        }
        empty = {key for key, something in says.items() if not something}
        return set(BY_KEY) - empty

    @property
    def is_text(self) -> bool:
        """Whether answers are free text."""
        return self.payload.get("task") == "extraction"

    @property
    def closeness(self) -> list[Column]:
        """The columns of free answers that this table has; none for a classification."""
        return closeness_of(self.payload)

    @property
    def any_billed(self) -> bool:
        """Whether any approach has billed tokens; else the column says nothing."""
        return any(_at("tokens", "billed")(row) is not None for row in self.rows)


def table_view(payload: Mapping[str, Any], *, sort: str = "", reverse: bool = False) -> TableView:
    """The rows in the order of a column (best first; `reverse` turns it), or in the order of the plan.

    Args:
        sort: a column's key; anything else means the plan's order.
    """
    closeness = closeness_of(payload)
    rows = [shown(row, closeness) for row in payload.get("rows", [])]
    column = BY_KEY.get(sort)
    if column:
        rows = _sorted(rows, column, reverse=reverse)
    split = str(payload.get("split", "validation"))
    headings = [_heading(each, split, column, reverse) for each in columns_of(payload)]
    return TableView(payload, rows, headings, split, sort if column else "")


def columns_of(payload: Mapping[str, Any]) -> list[Column]:
    """The columns of a table: of a classification macro-F1, of free answers how close they come and whether they keep their form."""
    if payload.get("task") != "extraction":
        return list(COLUMNS)
    at = COLUMNS.index(MACRO_F1)
    exact = replace(BY_KEY["accuracy"], label="Exact match", help="Answers equal to the reference, of all rows; 95% Wilson interval.")
    said = (
        "Tokens run for a request once the prefix that all requests share is cached: the rest of the prompt and the answer that it wrote."
    )
    computed = replace(COMPUTED, help=said)
    other = {"accuracy": exact, "computed": computed}
    columns = [*COLUMNS[:at], *closeness_of(payload), *COLUMNS[at + 1 :]]
    return [other.get(column.key, column) for column in columns]


def closeness_of(payload: Mapping[str, Any]) -> list[Column]:
    """The columns of free answers that any row has a value for."""
    rows = payload.get("rows", [])
    return [column for column in CLOSENESS if any(column.value(row) is not None for row in rows)]


def shown(row: Row, columns: Sequence[Column] = ()) -> Row:
    """A row with the few values that a template cannot derive.

    Args:
        columns: those of free answers.
    """
    trained, total, delta = row.get("trainable"), row.get("total_parameters"), row.get("delta")
    return {
        **row,
        "interval": (row["low"], row["high"]),
        "mark": line_mark(row),
        "cost_between": cost_between(row),
        "forgotten": forgotten(row),
        "agreed": agreed(row),
        "closeness_cells": [_closeness_cell(row, column.key) for column in columns],
        "trained_share": trained / total if trained and total else None,
        "delta": {**delta, "range": _range(delta), "tone": TONES[delta["verdict"]], "corrected": _corrected(delta)} if delta else None,
    }


def cost_between(row: Row) -> dict[str, Any] | None:
    """The cost at the fastest and the slowest pass, equal where there was one; None where a cost or the passes are unknown."""
    cost = row.get("cost") or {}
    if cost.get("per_thousand") is None or not cost.get("passes"):
        return None
    return {"low": cost["low"], "high": cost["high"], "passes": cost["passes"], "varies": cost["low"] != cost["high"]}


def _corrected(delta: Mapping[str, Any]) -> bool:
    return only_by_correction(delta["verdict"], delta["low"], delta["high"])


def _closeness_cell(row: Row, key: str) -> dict[str, Any]:
    found = (row.get("closeness") or {}).get(key) or {}
    known = found.get("value") is not None
    return {"value": found.get("value"), "interval": (found["low"], found["high"]) if known else None, "is_share": key == "format"}


def _range(delta: Mapping[str, Any]) -> str:
    return f"{points(delta['low'], sign=True)} to {points(delta['high'], sign=True)}"


def _sorted(rows: list[Row], column: Column, *, reverse: bool) -> list[Row]:
    """Best first; rows without a value always stand last."""
    known = [row for row in rows if column.value(row) is not None]
    known.sort(key=column.value, reverse=(column.better == "higher") != reverse)
    return known + [row for row in rows if column.value(row) is None]


def _heading(column: Column, split: str, current: Column | None, reverse: bool) -> Heading:
    if column is not current:
        return Heading(column, f"split={split}&sort={column.key}", "")
    descending = (column.better == "higher") != reverse
    turned = "" if reverse else "&turn=1"
    return Heading(column, f"split={split}&sort={column.key}{turned}", "descending" if descending else "ascending")


PRICE_LABELS = {
    "device_hour": "an hour of a machine",
    "input_million_tokens": "a million input tokens",
    "output_million_tokens": "a million output tokens",
    "wrong_answer": "a wrong answer",
    "labelled_row": "a labelled row",
    "person_hour": "an hour of a person",
}


def money_lines(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ledger's lines with the names of the approaches, in the order of the plan."""
    rows = {row["approach"]: row for row in payload.get("rows", [])}
    ledger = payload.get("money") or {}
    return [_money_line(rows[line["approach"]], line) for line in ledger.get("rows", []) if line["approach"] in rows]


def _money_line(row: Row, line: Mapping[str, Any]) -> dict[str, Any]:
    plain, priced = line.get("break_even"), line.get("break_even_with_mistakes")
    return {
        "name": row["name"],
        "mark": line_mark(row),
        "one_off": line["one_off"]["value"],
        "per_thousand": line["per_thousand"]["value"],
        "between": cost_between(row),
        "monthly": line["monthly"]["value"],
        "mistakes": line["mistakes_per_thousand"]["value"],
        "break_even": plain["sentence"] if plain else "",
        "with_mistakes": priced["sentence"] if priced and priced["pays"] != "unknown" else "",
    }

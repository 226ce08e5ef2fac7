"""What the columns of an uploaded file mean: which are text, which is the label, and how the splits are made.

Guesses a mapping, checks one against the parse report, and turns source rows into mapped rows. No Django, no files.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from experiments.errors import UserError
from experiments.intake.folding import folded
from experiments.intake.parsing import ColumnFacts, ParseReport, SourceRow
from experiments.intake.splits import (
    MEANINGS,
    UNLABELLED,
    BadSplits,
    Shares,
    SplitRow,
    split_complete,
    split_draw,
    split_from_column,
    split_suggest,
)
from experiments.wording import listed, quoted

Task = Literal["classification", "extraction"]

TASKS = ("classification", "extraction")
TEXT_NAMES = ("text", "message", "sentence", "utterance", "question", "query", "input", "body", "content", "document", "review", "title")
LABEL_NAMES = ("label", "labels", "intent", "category", "class", "target", "answer", "queue", "topic", "sentiment", "output")
MAX_SPLIT_VALUES = 30
MAX_SEED = 2**31 - 1


class BadMapping(UserError):
    """The mapping does not fit the file; the message is a sentence for a person."""


@dataclass(frozen=True)
class ColumnMapping:
    """What a person said about a file.

    Args:
        split_column: None draws the splits.
        split_meaning: value of the split column -> train, validation, test or unlabelled; the label of an unlabelled row is not used.
        shares, seed: how splits are drawn; with a split column, the part of train that a split missing from it takes.
        leave_out_leaks: leave rows out of train, validation and the unlabelled rows whose text also stands in a split that judges them.
        leave_out_empty: leave rows out that have no text or no label; else one such row blocks the import.
        keep_unlabelled: keep rows without a label as unlabelled rows, whatever the split column says of them.
    """

    text_columns: tuple[str, ...]
    label_column: str
    task: Task = "classification"
    split_column: str | None = None
    split_meaning: Mapping[str, str] = field(default_factory=dict)
    shares: Shares = field(default_factory=Shares)
    seed: int = 0
    leave_out_leaks: bool = True
    leave_out_empty: bool = False
    keep_unlabelled: bool = False

    def to_json(self) -> dict[str, Any]:
        """The mapping as plain JSON values."""
        return {**asdict(self), "text_columns": list(self.text_columns), "split_meaning": dict(self.split_meaning)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ColumnMapping":
        """The mapping that `to_json` gave; what is missing takes its default."""
        kept = {**values, "text_columns": tuple(values["text_columns"])}
        if "shares" in kept:
            kept["shares"] = Shares(**kept["shares"])
        return cls(**kept)


@dataclass(frozen=True)
class MappedRow:
    """A row as it will be stored. `number` is its row in the file; the label of an unlabelled row is empty."""

    number: int
    fields: dict[str, str]
    label: str
    split: str

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self.fields.values())


def mapping_guess(report: ParseReport) -> ColumnMapping:
    """The mapping that the names and values of the columns suggest; a person confirms or corrects it."""
    split = next((column for column in report.columns if _names_splits(column)), None)
    rest = [column for column in report.columns if column is not split]
    label = _named(rest, LABEL_NAMES) or _fewest_values(rest)
    texts = [column for column in rest if column is not label]
    text = _named(texts, TEXT_NAMES) or max(texts, key=lambda column: column.longest, default=None)
    meaning = {value: means for value, means in split_suggest((split.values or {}) if split else {}).items() if means}
    return ColumnMapping(
        text_columns=(text.name,) if text else (),
        label_column=label.name if label else "",
        split_column=split.name if split else None,
        split_meaning=meaning,
    )


def mapping_check(mapping: ColumnMapping, report: ParseReport) -> None:
    """Refuse a mapping that cannot be carried out, before any row is read.

    Raises:
        BadMapping: with the column or value at fault.
    """
    if not mapping.text_columns:
        raise BadMapping("No column is chosen as text. Choose at least one: it is what a prompt shows to the model.")
    if not mapping.label_column:
        raise BadMapping("No column is chosen as label. Choose the column that holds the right answer of each row.")
    used = [*mapping.text_columns, mapping.label_column, *([mapping.split_column] if mapping.split_column else [])]
    unknown = [name for name in used if name not in report.column_names]
    if unknown:
        raise BadMapping(
            f"The file has no column {quoted(unknown[0])}. Its columns are {listed(map(quoted, report.column_names), most=8)}."
        )
    doubled = [name for name in dict.fromkeys(used) if used.count(name) > 1]
    if doubled:
        raise BadMapping(
            f"The column {quoted(doubled[0])} is chosen twice. A column is text, label or split; "
            "a label inside the text would give the answer away."
        )
    if mapping.task not in TASKS:
        raise BadMapping(f"The task {quoted(str(mapping.task))} is not known. It is classification or extraction.")
    if not 0 <= mapping.seed <= MAX_SEED:
        raise BadMapping(f"The seed must lie between 0 and {MAX_SEED:,}.")
    _check_split_values(mapping, report)


def rows_map(rows: Iterable[SourceRow], report: ParseReport, mapping: ColumnMapping) -> list[MappedRow]:
    """Source rows with their fields, label and split.

    Raises:
        BadMapping: a value of the split column has no meaning.
    """
    place = {name: index for index, name in enumerate(report.column_names)}
    texts = [(name, place[name]) for name in mapping.text_columns]
    label = place[mapping.label_column]
    source = list(rows)
    given = _given_splits(source, mapping, place)
    if mapping.keep_unlabelled:
        given = [split if row.cells[label].strip() else UNLABELLED for row, split in zip(source, given, strict=True)]
    plain = [SplitRow(tuple(row.cells[index] for _, index in texts), row.cells[label]) for row in source]
    splits = _splits(plain, given, mapping)
    return [
        MappedRow(row.number, {name: row.cells[index] for name, index in texts}, "" if split == UNLABELLED else row.cells[label], split)
        for row, split in zip(source, splits, strict=True)
    ]


def _given_splits(source: list[SourceRow], mapping: ColumnMapping, place: Mapping[str, int]) -> list[str]:
    """What the split column says of each row; empty texts without one."""
    if mapping.split_column is None:
        return [""] * len(source)
    index = place[mapping.split_column]
    try:
        return split_from_column([row.cells[index] for row in source], mapping.split_meaning)
    except BadSplits as error:
        raise BadMapping(str(error)) from error


def _splits(plain: list[SplitRow], given: list[str], mapping: ColumnMapping) -> list[str]:
    """The split of each row. Unlabelled rows stay out of every draw: a label is what it keeps in the same shares."""
    labelled = [index for index, split in enumerate(given) if split != UNLABELLED]
    rows = [plain[index] for index in labelled]
    if mapping.split_column is None:
        drawn = split_draw(rows, shares=mapping.shares, seed=mapping.seed)
    else:
        drawn = split_complete(rows, [given[index] for index in labelled], shares=mapping.shares, seed=mapping.seed)
    splits = [UNLABELLED] * len(plain)
    for index, split in zip(labelled, drawn, strict=True):
        splits[index] = split
    return splits


def _check_split_values(mapping: ColumnMapping, report: ParseReport) -> None:
    if mapping.split_column is None:
        return
    values = next(column.values for column in report.columns if column.name == mapping.split_column)
    if values is None or len(values) > MAX_SPLIT_VALUES:
        raise BadMapping(
            f"The column {quoted(mapping.split_column)} has more than {MAX_SPLIT_VALUES} different values, so it cannot name splits. "
            "Choose another column, or let the rows be divided."
        )
    try:
        split_from_column(list(values), mapping.split_meaning)
    except BadSplits as error:
        raise BadMapping(str(error)) from error
    if not set(mapping.split_meaning.values()) <= set(MEANINGS):
        raise BadMapping("A value of the split column means train, validation or test, or that its rows are unlabelled, and nothing else.")


def _names_splits(column: ColumnFacts) -> bool:
    """Whether every value of the column names a split, with at least two of them."""
    if not column.values or len(column.values) > MAX_SPLIT_VALUES:
        return False
    meanings = set(split_suggest(column.values).values())
    return None not in meanings and len(meanings) > 1


def _named(columns: Collection[ColumnFacts], names: tuple[str, ...]) -> ColumnFacts | None:
    by_name = {folded(column.name): column for column in reversed(list(columns))}
    return next((by_name[name] for name in names if name in by_name), None)


def _fewest_values(columns: Collection[ColumnFacts]) -> ColumnFacts | None:
    """The column that looks most like a label: few different values, but more than one."""
    counted = [column for column in columns if column.values and len(column.values) > 1]
    return min(counted, key=lambda column: len(column.values or {}), default=None)

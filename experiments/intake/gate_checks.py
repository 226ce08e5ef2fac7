"""The gate's checks: each reads the tally and yields what is wrong, in a sentence with cause and remedy."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.intake.folding import folded
from experiments.intake.gate_tally import ROWS_SHOWN, Found, Tally
from experiments.intake.splits import SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION
from experiments.wording import counted, listed, quoted

Severity = Literal["blocks", "warns", "notes"]

FEW_ROWS = 100
MANY_LABELS, VERY_MANY_LABELS = 200, 500
LONG_LABEL = 200
LARGE_SHARE, UNEVEN = 0.5, 20

_LACKS: dict[str, tuple[Severity, str]] = {
    TEST: ("blocks", "the figures of the comparison come from test rows. Map a value to test, or let the rows be divided"),
    VALIDATION: ("blocks", "choices are made on validation rows. Map a value to validation, or let part of train be taken"),
    TRAIN: ("warns", "only written prompts without examples can run. Map a value to train to tune anything"),
}

# The findings that are about single rows: how each is called in a filter, and where the tally keeps its rows.
ROW_FINDINGS: dict[str, tuple[str, Callable[[Tally], Found]]] = {
    "empty_text": ("Empty text", lambda tally: tally.empty_text),
    "empty_label": ("Empty label", lambda tally: tally.empty_label),
    "spaced_labels": ("Space around the label", lambda tally: tally.spaced_label),
    "contradicting_labels": ("Same text, other label", lambda tally: tally.contradiction),
    "split_overlap": ("Same text in two splits", lambda tally: tally.overlap),
    "duplicates": ("Same text in one split", lambda tally: tally.repeated),
    "unlabelled_in_train": ("Same text, train and unlabelled", lambda tally: tally.also_in_train),
}
# The findings about labels that a report counts beside those of rows.
LABEL_FINDINGS = {
    "label_variants": "Labels that differ only in case or spaces",
    **{f"labels_missing_from_{split}": f"Labels missing from {split}" for split in SPLITS},
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a code for programs, a sentence for people, how many rows or labels, and the first rows."""

    code: str
    severity: Severity
    sentence: str
    count: int = 0
    rows: tuple[int, ...] = ()


def check_empty(tally: Tally) -> Iterator[Finding]:
    """No rows at all; rows without text or label."""
    if not tally.num_rows:
        yield Finding("no_rows", "blocks", "There are no rows. Upload a file with at least one row for each label.")
    if (found := tally.empty_text).count:
        yield _of_rows(
            "empty_text", "blocks", found, f"{found.opening}: the text is empty. Every row needs a text; {_add_or_remove(found)}."
        )
    if (found := tally.empty_label).count:
        need = f"one of the {len(tally.labels):,} labels" if len(tally.labels) > 1 else "a label"
        yield _of_rows(
            "empty_label", "blocks", found, f"{found.opening}: the label is empty. Every row needs {need}; {_add_or_remove(found)}."
        )


def check_repeats(tally: Tally) -> Iterator[Finding]:
    """Texts that stand in two splits or twice in one."""
    if (found := tally.overlap).count:
        yield _of_rows(
            "split_overlap",
            "warns",
            found,
            f"{_repeat(found)} a text of another split ({found.example}). "
            "What was seen in training is no test; leave the repeated rows out of all but the last split.",
        )
    if (found := tally.repeated).count:
        apart = " Those with another label are counted as contradictions alone." if tally.contradiction.count else ""
        yield _of_rows(
            "duplicates",
            "notes",
            found,
            f"{_repeat(found)} a text of the same split ({found.example}). "
            f"Repeats count twice in every figure; remove them if that is not meant.{apart}",
        )


def check_unlabelled(tally: Tally) -> Iterator[Finding]:
    """How many rows have no label on purpose, and which of them stand in train as well."""
    if count := tally.splits[UNLABELLED]:
        yield Finding(
            "unlabelled_rows",
            "notes",
            f"{counted(count, 'row is', 'rows are')} kept without a label. A teacher can answer them, so that a distilled prompt learns "
            "from its answers; nothing else reads them, and nothing is scored on them.",
            count,
        )
    if (found := tally.also_in_train).count:
        yield _of_rows(
            "unlabelled_in_train",
            "notes",
            found,
            f"{_repeat(found)} a text that stands in train and among the unlabelled rows ({found.example}). "
            "A teacher that teaches both counts it twice.",
        )


def check_contradictions(tally: Tally) -> Iterator[Finding]:
    """Equal texts with different labels."""
    if (found := tally.contradiction).count:
        yield _of_rows(
            "contradicting_labels",
            "warns",
            found,
            f"{_repeat(found)} a text with another label ({found.example}). Decide for one label, or no approach can be right on both.",
        )


def check_splits(tally: Tally) -> Iterator[Finding]:
    """Splits without rows, and splits too small to measure on."""
    if not tally.num_rows:
        return
    for split, (severity, reason) in _LACKS.items():
        if not tally.splits[split]:
            yield Finding(f"no_{split}_rows", severity, f"No row is in {split}: {reason}.")
    for split in (VALIDATION, TEST):
        if 0 < (count := tally.splits[split]) < FEW_ROWS:
            uncertain = min(98 / count**0.5, 50)  # half a 95 % interval at 50 % accuracy, in points
            yield Finding(
                f"few_{split}_rows",
                "warns",
                f"{split.capitalize()} has only {counted(count, 'row')}, so its accuracy is uncertain by up to ±{uncertain:.0f} points. "
                f"Give it {FEW_ROWS} rows or more.",
                count,
            )


def check_label_set(tally: Tally) -> Iterator[Finding]:
    """Too few or too many labels, and labels that look like texts: often the wrong column."""
    count = len(tally.labels)
    if count == 1:
        only, every = quoted(next(iter(tally.labels))), "Every labelled row" if tally.splits[UNLABELLED] else "Every row"
        yield Finding(
            "one_label",
            "blocks",
            f"{every} has the label {only}. Telling labels apart needs at least two; check that the right column is mapped.",
            tally.num_rows - tally.splits[UNLABELLED],
        )
    if count > MANY_LABELS:
        doubt = " Check that the right column is mapped." if count > VERY_MANY_LABELS else ""
        yield Finding(
            "many_labels",
            "warns",
            f"There are {count:,} labels. Each row is scored against every label, so runs get slow and rare labels get few rows.{doubt}",
            count,
        )
    if long := [label for label in tally.labels if len(label) > LONG_LABEL]:
        yield Finding(
            "long_labels",
            "warns",
            f"{counted(len(long), 'label has', 'labels have')} more than {LONG_LABEL} characters, such as {quoted(long[0])}. "
            "A label is a short name; check that the right column is mapped.",
            len(long),
            _first_rows(tally, long),
        )


def check_label_spelling(tally: Tally) -> Iterator[Finding]:
    """Labels that a person reads as one but a program counts as several."""
    if (found := tally.spaced_label).count:
        yield _of_rows(
            "spaced_labels",
            "warns",
            found,
            f"{found.opening}: a space stands before or after the label {found.example}. Remove it, or it counts as a label of its own.",
        )
    variants: dict[str, list[str]] = defaultdict(list)
    for label in tally.labels:
        variants[folded(label)].append(label)
    clashes = [names for names in variants.values() if len({name.strip() for name in names}) > 1]
    if clashes:
        shown = listed([f"{quoted(name)} ({counted(tally.labels[name].total(), 'row')})" for name in clashes[0]])
        more = f" {counted(len(clashes) - 1, 'more label varies', 'more labels vary')} like this." if len(clashes) > 1 else ""
        yield Finding(
            "label_variants",
            "warns",
            f"{shown} differ only in case or spaces but count as different labels. Write the label in one way.{more}",
            len(clashes),
            _first_rows(tally, [names[-1] for names in clashes]),
        )


def check_labels_by_split(tally: Tally) -> Iterator[Finding]:
    """Labels that a split lacks."""
    for split in SPLITS:
        missing = [label for label, counts in tally.labels.items() if not counts[split]] if tally.splits[split] else []
        if missing:
            effect = "no approach can learn from rows what they mean" if split == TRAIN else "its figures say nothing about them"
            yield Finding(
                f"labels_missing_from_{split}",
                "warns",
                f"{counted(len(missing), 'label is', 'labels are')} missing from {split} ({listed(map(quoted, missing))}): "
                f"{effect}. Add rows, or let the rows be divided by label.",
                len(missing),
                _first_rows(tally, missing),
            )


def check_balance(tally: Tally) -> Iterator[Finding]:
    """One label that is far more frequent than the others."""
    sizes = sorted(((counts.total(), label) for label, counts in tally.labels.items()), reverse=True)
    if len(sizes) < 2:
        return
    (largest, frequent), (smallest, rare) = sizes[0], sizes[-1]
    share = largest / sum(size for size, _ in sizes)
    if share > LARGE_SHARE or largest >= UNEVEN * smallest:
        yield Finding(
            "uneven_labels",
            "notes",
            f"Labels are uneven: {quoted(frequent)} has {counted(largest, 'row')}, {quoted(rare)} {smallest:,}. "
            f"Always answering {quoted(frequent)} is right {share:.0%} of the time; read macro-F1 beside accuracy.",
            largest,
        )


def _of_rows(code: str, severity: Severity, found: Found, sentence: str) -> Finding:
    return Finding(code, severity, sentence, found.count, found.rows)


def _first_rows(tally: Tally, labels: Sequence[str]) -> tuple[int, ...]:
    return tuple(tally.first_row[label] for label in labels[:ROWS_SHOWN])


def _repeat(found: Found) -> str:
    return counted(found.count, "row repeats", "rows repeat")


def _add_or_remove(found: Found) -> str:
    return f"add it or remove the {'row' if found.count == 1 else 'rows'}"

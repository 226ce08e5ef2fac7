"""A report's snapshot as CSV and JSON files. Pure: reads the snapshot only."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from experiments.exports import Cell, csv_lines

# Of free answers only; a classification's file has no such columns.
TEXT_METRICS = ("token_f1", "rouge_l", "chrf", "format")
TEXT_PARTS = (("", "value"), ("_low", "low"), ("_high", "high"))
COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("approach", ("name",)),
    ("family", ("family",)),
    ("rows", ("n",)),
    ("right", ("correct",)),
    ("accuracy", ("accuracy",)),
    ("accuracy_low", ("low",)),
    ("accuracy_high", ("high",)),
    ("macro_f1", ("macro_f1",)),
    *((f"{metric}{end}", ("closeness", metric, part)) for metric in TEXT_METRICS for end, part in TEXT_PARTS),
    ("difference_to_baseline", ("delta", "value")),
    ("difference_low", ("delta", "low")),
    ("difference_high", ("delta", "high")),
    ("p_adjusted", ("delta", "p_adjusted")),
    ("verdict", ("delta", "verdict")),
    ("coverage", ("coverage",)),
    ("errors", ("errors",)),
    ("skipped", ("skipped",)),
    ("tokens_fixed", ("tokens", "fixed")),
    ("tokens_row", ("tokens", "row")),
    ("tokens_virtual", ("tokens", "virtual")),
    ("tokens_completion", ("tokens", "completion")),
    ("tokens_context", ("tokens", "context")),
    ("tokens_computed", ("tokens", "computed")),
    ("tokens_billed", ("tokens", "billed")),
    ("rows_per_second", ("rows_per_second",)),
    ("latency_p50_ms", ("latency", "p50_ms")),
    ("latency_p95_ms", ("latency", "p95_ms")),
    ("cost_per_thousand", ("cost", "per_thousand")),
    ("currency", ("cost", "currency")),
    ("configurations", ("configurations",)),
    ("training_seconds", ("train_seconds",)),
    ("trained_parameters", ("trainable",)),
    ("unrelated_loss_before", ("forgetting", "before")),
    ("unrelated_loss_after", ("forgetting", "after")),
    ("agreed_with_teacher", ("agreement", "agreed")),
    ("rows_of_teacher", ("agreement", "rows")),
    ("artifact_bytes", ("artifact_bytes",)),
    ("seed", ("seed",)),
    ("num_seeds", ("spread", "num_seeds")),
    ("lowest_seed", ("spread", "lowest")),
    ("highest_seed", ("spread", "highest")),
    ("written_after_test", ("written_after_test",)),
)
MONEY = {"cost_per_thousand"}


def report_csv(payload: Mapping[str, Any]) -> Iterator[str]:
    """The table, a line an approach. Unknown costs are the word "unknown", never 0."""
    is_text = payload["task"] == "extraction"
    columns = [(name, path) for name, path in COLUMNS if (name != "macro_f1" if is_text else path[0] != "closeness")]
    return csv_lines([name for name, _ in columns], ([_cell(name, path, row) for name, path in columns] for row in payload["rows"]))


def report_json(payload: Mapping[str, Any]) -> str:
    """The whole snapshot; nothing in it is read as a formula, for JSON has none."""
    return json.dumps(payload, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _cell(name: str, path: tuple[str, ...], row: Mapping[str, Any]) -> Cell:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if name in MONEY:
        return "unknown" if value is None else Decimal(value)
    return value if isinstance(value, str | int | float | bool) else None

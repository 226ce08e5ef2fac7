"""The table as pages show it: which columns say something, and what stands below them."""

import pytest

from experiments.reads.table_view import columns_of, table_view


def row(key="lora", **overrides):
    known = {"approach": key, "name": key.title(), "family": "tuned", "method": "lora", "delta": None}
    return known | {"accuracy": 0.8, "low": 0.7, "high": 0.9, "tokens": {"context": 30.7, "computed": 31.7}} | overrides


def help_of(key, payload):
    return next(column.help for column in columns_of(payload) if column.key == key)


@pytest.mark.parametrize(("context", "computed", "is_more"), [(30.7, 31.7, True), (180, 19, False), (None, None, False), (30, 30, False)])
def test_computed_tokens_above_the_context_are_noticed(context, computed, is_more):
    view = table_view({"rows": [row(tokens={"context": context, "computed": computed})]})

    assert view.computes_more == is_more


def test_computed_tokens_are_explained_by_what_the_engine_runs():
    assert "answer words of every label" in help_of("computed", {})
    assert "label" not in help_of("computed", {"task": "extraction"})
    assert all("prefix that all requests share is cached" in help_of("computed", {"task": task}) for task in ("", "extraction"))


def test_figures_that_belong_together_share_a_column_of_cells():
    measured = {"rows_per_second": 9.0, "latency": {"p50_ms": 3.0}, "train_seconds": 4.0, "trainable": 10, "artifact_bytes": 40}
    groups = table_view({"rows": [row(**measured)]}).heading_groups

    assert [[heading.column.label for heading in group] for group in groups if len(group) > 1] == [
        ["Context tokens", "Computed tokens"],
        ["Rows/s", "Latency"],
        ["Training", "Trained", "Size"],
    ]


def test_sorting_by_a_figure_below_another_marks_its_own_head():
    groups = table_view({"rows": [row()]}, sort="computed").heading_groups

    assert [(each.column.key, each.sorted) for group in groups for each in group if each.sorted] == [("computed", "ascending")]

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

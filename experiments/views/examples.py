"""The rows of a comparison with every approach's answer. Test rows are shown only once the test set is open."""

from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from experiments.reads.example_grid import SHOWN, GridQuery, example_grid
from experiments.views.comparisons import experiment_at

MAX_ROW = 2**31 - 1


@require_safe
def comparison_examples(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    experiment = experiment_at(request, slug, experiment_id)
    tables = {table.split: table for table in experiment.tables.all()}  # a test table exists only after the opening
    split = request.GET.get("split", "")
    table = tables.get(split) or tables.get("validation")
    query = _query(request)
    grid = example_grid(experiment, table.payload, query) if table else None
    kept = {"split": table.split if table else "", "show": query.show, "approach": query.approach, "q": query.search}
    context = {
        "experiment": experiment,
        "splits": sorted(tables, reverse=True),
        "split": kept["split"],
        "grid": grid,
        "query": query,
        "shown": SHOWN.items(),
        "kept": urlencode({key: value for key, value in kept.items() if value}),
    }
    return render(request, "comparison_examples.html", context)


def _query(request: HttpRequest) -> GridQuery:
    show = request.GET.get("show", "")
    return GridQuery(
        show=show if show in SHOWN else "all",
        approach=request.GET.get("approach", ""),
        search=request.GET.get("q", "").replace("\0", "").strip()[:200],
        after=_row_number(request.GET.get("after")),
        before=_row_number(request.GET.get("before")),
    )


def _row_number(text: str | None) -> int:
    """A row number from the address; 0 for anything else."""
    return min(int(text), MAX_ROW) if text and text.isascii() and text.isdigit() and len(text) < 12 else 0

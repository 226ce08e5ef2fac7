"""Comparisons as the lines of a list: what each compares, where it stands and what came of it. One query, whatever their number."""

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform

from experiments.models import ComparisonTable, Experiment, Workspace


def comparison_rows(workspace: Workspace) -> "QuerySet[Experiment]":
    """All but learning curves, which belong to a comparison; the newest first.

    Each has `num_approaches` and `outcome`: the sentence of the test rows' table, else of the validation rows'.
    """
    tables = ComparisonTable.objects.filter(experiment=OuterRef("pk")).order_by("split")
    outcome = tables.values(said=KeyTextTransform("headline", "payload"))
    rows = workspace.experiments.filter(curve_of=None).select_related("dataset_version__dataset", "created_by")
    return rows.annotate(num_approaches=Count("approaches"), outcome=Subquery(outcome[:1])).order_by("-created_at")

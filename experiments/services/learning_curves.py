"""A learning curve: its runs are a comparison of their own that names its parent, so that they are stopped and tried again like all others.

Knows no request and computes no statistics.
"""

from typing import Any

from django.db import transaction

from experiments.errors import UserError
from experiments.models import Approach, Experiment, User
from experiments.planning.curves import curve_plan
from experiments.services.audit import audit_record
from experiments.services.launches import experiment_launch

# What a curve takes over from its comparison, so that its points stand on the same rows, rules and prices.
SHARED = ("workspace", "dataset_version", "price_book", "seeds", "too_long", "truncate_column", "margin", "monthly_requests", "generation")
OWN = ("id", "created_at", "experiment", "position", "name", "point_of", "train_rows")


def learning_curve_start(*, experiment: Experiment, by: User | None) -> Experiment:
    """Launch the learning curve of a finished comparison, once: a curve that is there already is the answer.

    Raises:
        UserError: the comparison has not ended, or nothing in it learns from rows.
    """
    with transaction.atomic():
        experiment = Experiment.objects.select_for_update(of=("self",)).select_related("workspace", "dataset_version").get(pk=experiment.pk)
        known = Experiment.objects.filter(curve_of=experiment).first()
        if known:
            return known
        plan = curve_plan(experiment)
        if plan.problem:
            raise UserError(plan.problem)
        kept = {field: getattr(experiment, field) for field in SHARED}
        name = f"Learning curve of {experiment.name}"[:120]
        curve = Experiment.objects.create(**kept, name=name, curve_of=experiment, created_by=by)
        Approach.objects.bulk_create(_point(curve, at, approach, rows) for at, (approach, rows) in enumerate(plan.points))
        Experiment.objects.filter(pk=experiment.pk).update(curve_when_finished=False)
        audit_record(by=by, verb="drew the learning curve of", target=experiment, workspace=experiment.workspace)
        return experiment_launch(experiment=curve, by=by, key=f"curve:{experiment.pk}")


def _point(curve: Experiment, position: int, approach: Approach, rows: int) -> Approach:
    """The same approach with fewer train rows; whatever else makes it up is taken over."""
    fields = [field.name for field in Approach._meta.concrete_fields if field.name not in OWN]
    same: dict[str, Any] = {name: getattr(approach, name) for name in fields}
    name = f"{approach.name[:140]}, {rows:,} rows"
    return Approach(**same, experiment=curve, position=position, name=name, point_of=approach, train_rows=rows)


def learning_curve_follow(*, experiment: Experiment) -> None:
    """Launch the curve that a comparison asked for, once it has ended. Calling it again changes nothing."""
    if experiment.curve_when_finished and not curve_plan(experiment).problem:
        learning_curve_start(experiment=experiment, by=experiment.created_by)


def learning_curve_store(*, curve: Experiment, payload: dict[str, Any]) -> None:
    """Keep the points of a curve, replacing older ones."""
    Experiment.objects.filter(pk=curve.pk).update(learning_curve=payload)

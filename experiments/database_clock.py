"""Moments on the database's clock, the only one that all workers share."""

from datetime import timedelta

from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now


def from_now(seconds: float) -> CombinedExpression:
    """A moment on the database's clock; `seconds` may be negative."""
    return Now() + timedelta(seconds=seconds)

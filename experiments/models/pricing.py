"""Dated prices. An empty price means unknown, never zero."""

from typing import Any

from django.db import models

from experiments.models.accounts import Workspace
from experiments.models.base import Noun, author


def price(help_text: str) -> "models.DecimalField[Any, Any]":
    return models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True, help_text=help_text)


class PriceBook(Noun):
    """What things cost a team from a date on; immutable once an experiment uses it."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="price_books")
    name = models.CharField(max_length=80)
    currency = models.CharField(max_length=3, default="USD")
    effective_on = models.DateField()
    device_hour = price("One hour of the machine or accelerator that tunes and serves.")
    input_million_tokens = price("One million billed input tokens of a hosted model.")
    output_million_tokens = price("One million billed output tokens of a hosted model.")
    wrong_answer = price("What one wrong answer costs the business.")
    labelled_row = price("Labelling one row.")
    person_hour = price("One hour of a person who writes prompts.")
    created_by = author()

    class Meta:
        ordering = ["-effective_on", "-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.currency}, {self.effective_on:%Y-%m-%d})"

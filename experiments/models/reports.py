"""Frozen reports and the links that open them. A report never looks back at the experiment."""

from django.db import models

from experiments.models.accounts import Workspace
from experiments.models.base import Noun, author
from experiments.models.comparisons import Experiment


class Report(Noun):
    """A snapshot made at one moment, from an explicit list of fields."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="reports")
    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="reports")
    title = models.CharField(max_length=160)
    payload = models.JSONField()
    payload_sha256 = models.CharField(max_length=64)
    includes_prompts = models.BooleanField(default=False)
    includes_examples = models.BooleanField(default=False)
    created_by = author()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.title


class Share(Noun):
    """A link to one report. Only the token's SHA-256 is kept; it is shown once.

    `name` and `ending` let a person tell links apart: for whom it was made, and the last characters of what was handed out.
    """

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="shares")
    token_sha256 = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=80, blank=True, help_text="For whom the link was made.")
    ending = models.CharField(max_length=6, blank=True, help_text="The last characters of the token, which are the end of the link.")
    created_by = author()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_opened_on = models.DateField(null=True, blank=True)
    num_opened = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} …{self.ending}" if self.name else f"…{self.ending}"

"""What hosted endpoints need kept: the sealed key, and a row for every call, written before the call is made."""

from django.db import models

from experiments.models.backbones import Backbone
from experiments.models.base import author
from experiments.models.comparisons import Experiment
from experiments.models.datasets import Example
from experiments.models.jobs import Attempt, Job


class EndpointKey(models.Model):
    """The key of a hosted model, sealed for its address. Written by people, read by workers, shown to nobody."""

    backbone = models.OneToOneField(Backbone, on_delete=models.CASCADE, related_name="endpoint_key")
    sealed = models.TextField()
    set_at = models.DateTimeField(auto_now=True)
    set_by = author()

    def __str__(self) -> str:
        return f"key of {self.backbone}"


class CallState(models.TextChoices):
    ASKED = "asked", "Asked, no answer recorded"
    ANSWERED = "answered", "Answered"
    REFUSED = "refused", "Refused, not billed"
    UNKNOWN = "unknown", "No usable answer, perhaps billed"


class EndpointCall(models.Model):
    """One call of an endpoint. The row exists before the call, so that a crash never pays twice without knowing it.

    `reserved_*` is the most that the call can be billed for; it counts against a budget until the endpoint has said what it bills.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="endpoint_calls")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="endpoint_calls")
    backbone = models.ForeignKey(Backbone, on_delete=models.CASCADE, related_name="calls")
    experiment = models.ForeignKey(Experiment, null=True, on_delete=models.CASCADE, related_name="endpoint_calls")
    example = models.ForeignKey(Example, null=True, on_delete=models.CASCADE, related_name="endpoint_calls")
    request_sha256 = models.CharField(max_length=64, help_text="Address, model and everything that was asked.")
    state = models.CharField(max_length=10, choices=CallState, default=CallState.ASKED)
    reserved_input_tokens = models.PositiveIntegerField()
    reserved_output_tokens = models.PositiveIntegerField()
    input_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    seconds = models.FloatField(null=True)
    reply = models.JSONField(default=dict, help_text="Text and top log-probabilities of the answer.")
    problem = models.TextField(blank=True)
    asked_at = models.DateTimeField(auto_now_add=True)
    answered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.CheckConstraint(condition=models.Q(state__in=CallState.values), name="endpoint_call_state_known")]
        indexes = [
            models.Index(fields=["job", "state"], name="endpoint_call_job"),
            models.Index(fields=["experiment", "state"], name="endpoint_call_experiment"),
        ]

    def __str__(self) -> str:
        return f"call {self.pk} of {self.backbone}"

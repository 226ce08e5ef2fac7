"""Language models that a workspace may use. Knows where they lie, never what is inside: a worker looks and reports."""

from django.db import models

from experiments.models.accounts import Workspace
from experiments.models.base import Noun, author
from experiments.models.jobs import Job

DTYPES = [("auto", "Automatic"), ("fp32", "fp32"), ("bf16", "bf16"), ("8bit", "8 bits"), ("4bit", "4 bits")]
FEW_BITS = ("8bit", "4bit")


class BackboneKind(models.TextChoices):
    BUNDLED = "bundled", "Bundled starter"
    LOCAL = "local", "Folder on the workers"
    HUB = "hub", "Hugging Face Hub"
    HOSTED = "hosted", "Hosted endpoint"


class Backbone(Noun):
    """A model at a pinned revision, or behind an endpoint. `facts` is what a worker found when it verified the model."""

    workspace = models.ForeignKey(
        Workspace, null=True, blank=True, on_delete=models.CASCADE, related_name="backbones", help_text="Empty: every workspace sees it."
    )
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=BackboneKind)
    source = models.CharField(
        max_length=400, help_text="Folder, Hub id or address of an endpoint; empty for the bundled starter.", blank=True
    )
    revision = models.CharField(max_length=40, blank=True, help_text="Full 40-character commit of a Hub model.")
    dtype = models.CharField(max_length=8, choices=DTYPES, default="auto")
    remote_model = models.CharField(max_length=200, blank=True, help_text="The name of the model at its endpoint.")
    limits = models.JSONField(default=dict, blank=True, help_text="How an endpoint is asked: calls at once, a minute, seconds, tokens.")
    facts = models.JSONField(default=dict, blank=True)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="backbones")
    verified_at = models.DateTimeField(null=True, blank=True)
    problem = models.TextField(blank=True, help_text="Why a worker refused the model, in a sentence.")
    created_by = author()

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="backbone_name_once"),
            models.UniqueConstraint(fields=["name"], condition=models.Q(workspace=None), name="backbone_shared_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_hosted(self) -> bool:
        """Whether the model runs on machines of somebody else and is asked over the network."""
        return self.kind == BackboneKind.HOSTED

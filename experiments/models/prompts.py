"""Hard prompts: templates, their immutable versions and movable aliases. Knows nothing of runs."""

from django.db import models

from experiments.models.accounts import Workspace
from experiments.models.base import Noun, author
from experiments.models.datasets import Dataset


class PromptTemplate(Noun):
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="prompt_templates")
    dataset = models.ForeignKey(Dataset, null=True, blank=True, on_delete=models.SET_NULL, related_name="prompt_templates")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    created_by = author()

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="prompt_template_name_once")]

    def __str__(self) -> str:
        return self.name


class TemplateVersion(Noun):
    """One immutable wording, with its slots, answer words and demonstrations."""

    template = models.ForeignKey(PromptTemplate, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    system = models.TextField(blank=True)
    user = models.TextField(help_text="Text with {{column}} slots.")
    answer_cue = models.CharField(max_length=200, blank=True, help_text="The words right before the answer, such as “Queue:”.")
    answer_words = models.JSONField(default=dict, help_text="{label: [words]}; a label that is missing answers with its own name.")
    demonstrations = models.JSONField(default=list, help_text="[{example, fields, label}] from the train split, in order.")
    first_step = models.JSONField(
        default=dict,
        blank=True,
        help_text="{text, max_tokens, stop} of what the model writes about a row before it answers; empty without.",
    )
    note = models.CharField(max_length=200, blank=True)
    content_sha256 = models.CharField(max_length=64)
    optimised_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="optimised_into")
    optimised_by = models.ForeignKey(
        "experiments.Run",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="optimised_versions",
        help_text="The run whose search found this wording; empty when a person wrote it.",
    )
    created_by = author()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["template", "number"], name="template_version_number_once")]

    def __str__(self) -> str:
        return f"{self.template} v{self.number}"


class TemplateAlias(models.Model):
    """A name that moves between versions, such as `production`."""

    template = models.ForeignKey(PromptTemplate, on_delete=models.CASCADE, related_name="aliases")
    name = models.SlugField(max_length=40)
    version = models.ForeignKey(TemplateVersion, on_delete=models.CASCADE, related_name="aliases")
    moved_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["template", "name"], name="template_alias_once")]

    def __str__(self) -> str:
        return f"{self.template}@{self.name}"

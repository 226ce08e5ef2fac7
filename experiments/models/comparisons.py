"""An experiment, its approaches and runs, the stored comparison, and a prompt tried by hand. State lives on the Job alone."""

from typing import Any

from django.db import models

from experiments.catalogue.kinds import hue_of, mark_of
from experiments.models.accounts import Workspace
from experiments.models.backbones import Backbone
from experiments.models.base import Noun, author
from experiments.models.datasets import DatasetVersion, Split
from experiments.models.jobs import Job
from experiments.models.pricing import PriceBook
from experiments.models.prompts import PromptTemplate, TemplateVersion


class Family(models.TextChoices):
    """What kind of contender an approach is; decides its mark, and its hue outside its comparison."""

    ENGINEERED = "engineered", "Engineered prompt"
    TUNED = "tuned", "Tuned"
    HYBRID = "hybrid", "Hybrid"
    HOSTED = "hosted", "Hosted endpoint"
    BASELINE = "baseline", "Plain baseline"


class TooLong(models.TextChoices):
    REFUSE = "refuse", "Refuse to start"
    TRUNCATE = "truncate", "Cut the column, with a warning"
    SKIP = "skip", "Skip the row and count it as not correct"


class Experiment(Noun):
    """One dataset version, backbones, approaches, seeds and a price book; “Comparison” on the pages."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="experiments")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="experiments")
    price_book = models.ForeignKey(PriceBook, null=True, blank=True, on_delete=models.PROTECT, related_name="experiments")
    seeds = models.JSONField(default=list, help_text="Seeds of the tuned approaches.")
    configurations = models.PositiveIntegerField(default=1, help_text="How many each approach tries on validation rows, where it can.")
    too_long = models.CharField(max_length=10, choices=TooLong, default=TooLong.REFUSE)
    truncate_column = models.CharField(max_length=120, blank=True)
    margin = models.FloatField(default=0.01, help_text="Non-inferiority margin, a share of rows (0.01 = one point).")
    monthly_requests = models.PositiveBigIntegerField(default=100_000, help_text="The volume that the money columns assume.")
    endpoint_requests = models.PositiveIntegerField(null=True, blank=True, help_text="Most calls of hosted endpoints; empty: no limit.")
    endpoint_money = models.DecimalField(
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="Most that hosted endpoints may bill, in the price book's currency.",
    )
    open_test_when_finished = models.BooleanField(default=False)
    generation = models.JSONField(default=dict, blank=True, help_text="How free answers are written; empty for a classification.")
    baseline = models.ForeignKey("experiments.Approach", null=True, on_delete=models.SET_NULL, related_name="+")
    launched_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True, help_text="When the last comparison was committed.")
    latency = models.JSONField(default=dict, blank=True, help_text="The last latency pass: figures by approach, machine and load.")
    curve_of = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="curve",
        help_text="The comparison whose learning curve it is.",
    )
    curve_when_finished = models.BooleanField(default=False)
    learning_curve = models.JSONField(default=dict, blank=True, help_text="Of a learning curve: its points, computed when its runs ended.")
    launch_key = models.CharField(max_length=120, null=True, blank=True, help_text="Idempotency key of the launch.")
    created_by = author()

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["workspace", "launch_key"], name="experiment_launch_key_once")]

    def __str__(self) -> str:
        return self.name


class Approach(Noun):
    """One contender: a hard prompt, a tuning recipe, both, or a plain baseline."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="approaches")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=160)
    family = models.CharField(max_length=20, choices=Family)
    method = models.CharField(max_length=40, help_text="The engine's name: hard_prompt, prompt_tuning, lora, majority, …")
    recipe = models.JSONField(default=dict, help_text="The method's options, every default written out.")
    backbone = models.ForeignKey(Backbone, null=True, on_delete=models.PROTECT, related_name="approaches")
    template_version = models.ForeignKey(TemplateVersion, null=True, on_delete=models.PROTECT, related_name="approaches")
    start_artifact = models.ForeignKey(
        "experiments.Artifact",
        null=True,
        blank=True,
        on_delete=models.RESTRICT,
        related_name="started",
        help_text="The tuned prompt that training starts from.",
    )
    teacher_version = models.ForeignKey(
        TemplateVersion,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="taught",
        help_text="The prompt that teaches it, on the same model.",
    )
    teacher_evaluation = models.ForeignKey(
        "experiments.Evaluation",
        null=True,
        blank=True,
        on_delete=models.RESTRICT,
        related_name="taught",
        help_text="The answers to train or unlabelled rows that teach it, by whatever model.",
    )
    teaching = models.JSONField(default=dict, blank=True, help_text="{targets, temperature, rows, learns_on}; empty: nobody teaches it.")
    point_of = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="points",
        help_text="The approach whose curve it is a point of.",
    )
    train_rows = models.PositiveIntegerField(null=True, blank=True, help_text="Train rows that it learns from, drawn by seed; empty: all.")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["experiment", "position"], name="approach_position_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def hue(self) -> str:
        """The name of its colour; see `recipes.hue_of`."""
        return hue_of(self.family, self.method)

    @property
    def mark(self) -> str:
        """The classes of its own mark inside its comparison; see `recipe_kinds.mark_of`."""
        return mark_of(self.position)

    @property
    def model_facts(self) -> dict[str, Any]:
        """What a worker found out about its model; empty where it has none or nobody looked."""
        return self.backbone.facts if self.backbone else {}


class Run(Noun):
    """Making one approach with one seed. Its state is its job's."""

    approach = models.ForeignKey(Approach, on_delete=models.CASCADE, related_name="runs")
    seed = models.PositiveIntegerField(default=0)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="run")
    result = models.JSONField(default=dict, blank=True, help_text="The engine's record of the winning attempt, without predictions.")

    class Meta:
        ordering = ["approach__position", "seed"]
        constraints = [models.UniqueConstraint(fields=["approach", "seed"], name="run_seed_once")]

    def __str__(self) -> str:
        return f"{self.approach} · seed {self.seed}"


class ComparisonTable(models.Model):
    """The comparison of one split, computed by a job when runs end; pages only read it."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="tables")
    split = models.CharField(max_length=10, choices=Split)
    payload = models.JSONField()
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    computed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["experiment", "split"], name="comparison_table_once")]

    def __str__(self) -> str:
        return f"{self.experiment} on {self.split}"


class Preview(Noun):
    """A prompt tried by hand on a few train or validation rows."""

    template = models.ForeignKey(PromptTemplate, null=True, on_delete=models.CASCADE, related_name="previews")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="previews")
    backbone = models.ForeignKey(Backbone, on_delete=models.CASCADE, related_name="previews")
    wording = models.JSONField(help_text="system, user, answer_cue, answer_words, demonstrations as typed.")
    examples = models.JSONField(help_text="Ids of the rows; never test rows.")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="preview")
    result = models.JSONField(default=dict, blank=True)
    created_by = author()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"preview {self.id}"

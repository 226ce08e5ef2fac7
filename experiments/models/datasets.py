"""Labelled data: datasets, their immutable versions, rows, and who opened which test set. Knows nothing of prompts or runs."""

from django.db import models

from experiments.models.accounts import Workspace
from experiments.models.base import Noun, author
from experiments.models.jobs import Job


class Split(models.TextChoices):
    """Where a row stands. Unlabelled rows have an empty label: a teacher may answer them, and nothing else reads them."""

    TRAIN = "train", "Train"
    VALIDATION = "validation", "Validation"
    TEST = "test", "Test"
    UNLABELLED = "unlabelled", "Unlabelled"


class Task(models.TextChoices):
    CLASSIFICATION = "classification", "Classification"
    EXTRACTION = "extraction", "Short extraction"


class Dataset(Noun):
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    attribution = models.TextField(blank=True, help_text="Source and licence, shown on reports.")
    created_by = author()

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="dataset_name_once")]

    def __str__(self) -> str:
        return self.name


class DatasetVersionQuerySet(models.QuerySet["DatasetVersion"]):
    def complete(self) -> "DatasetVersionQuerySet":
        return self.filter(completed_at__isnull=False)


class DatasetVersion(Noun):
    """One upload. A draft while it is read and mapped; complete and immutable from `completed_at` on."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    created_by = author()
    source_name = models.CharField(max_length=255, help_text="The file's name as uploaded; display only.")
    source_sha256 = models.CharField(max_length=64)
    source_bytes = models.PositiveBigIntegerField()
    parsed_sha256 = models.CharField(max_length=64, blank=True, help_text="The rows as JSON lines, in file storage.")
    parse_report = models.JSONField(default=dict, help_text="Columns, preview, encoding and row problems of the file.")
    mapping = models.JSONField(default=dict, help_text="Which columns are text and label, and how the splits were made.")
    task = models.CharField(max_length=20, choices=Task, default=Task.CLASSIFICATION)
    columns = models.JSONField(default=list, help_text="Names of the text columns.")
    labels = models.JSONField(default=list, help_text="The labels, in order of first appearance; empty for extraction.")
    split_counts = models.JSONField(default=dict)
    gate_report = models.JSONField(default=dict)
    content_sha256 = models.CharField(max_length=64, blank=True)
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="dataset_versions")
    problem = models.TextField(blank=True, help_text="Why the file was refused, in a sentence.")
    completed_at = models.DateTimeField(null=True, blank=True)

    objects = DatasetVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["dataset", "number"], name="dataset_version_number_once")]

    def __str__(self) -> str:
        return f"{self.dataset} v{self.number}"

    @property
    def num_rows(self) -> int:
        return sum(self.split_counts.values())

    @property
    def has_failed(self) -> bool:
        """Whether the file could not be read, or reading it was stopped: only another upload helps."""
        is_going_on = self.job and not self.job.has_ended
        return not (self.completed_at or self.parsed_sha256 or is_going_on)


class Example(models.Model):
    """A row of a complete version. Of a draft that the gate refused, the rows that its findings show, for nobody else to read."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="examples")
    position = models.PositiveIntegerField(help_text="Row number in the uploaded file, from 1.")
    split = models.CharField(max_length=10, choices=Split)
    fields = models.JSONField()
    label = models.TextField(blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["version", "position"], name="example_position_once"),
            models.CheckConstraint(condition=~models.Q(split=Split.UNLABELLED) | models.Q(label=""), name="example_unlabelled_has_none"),
        ]
        indexes = [models.Index(fields=["version", "split", "position"], name="example_split")]

    def __str__(self) -> str:
        return f"row {self.position}"


class RowFinding(models.Model):
    """A row that a finding of the gate is about, beside the earlier row whose text it repeats."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="row_findings")
    code = models.CharField(max_length=40, help_text="The finding's code in the version's report.")
    place = models.PositiveIntegerField(
        help_text="How many rows of the finding stand before it: rows that repeat the same row stand together."
    )
    position = models.PositiveIntegerField(help_text="The row's position in the version.")
    twin = models.PositiveIntegerField(null=True, help_text="The position of the row whose text it repeats.")

    class Meta:
        ordering = ["place"]
        constraints = [models.UniqueConstraint(fields=["version", "code", "place"], name="row_finding_place_once")]

    def __str__(self) -> str:
        return f"row {self.position}: {self.code}"


class TestOpening(models.Model):
    """The logged step that lets an experiment see the test rows of a version. Counted on every report.

    It outlives its experiment: what was seen stays seen, whoever deletes the comparison afterwards.
    """

    __test__ = False  # pytest would take the name for a test class

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="test_openings")
    experiment = models.OneToOneField("experiments.Experiment", null=True, on_delete=models.SET_NULL, related_name="test_opening")
    opened_by = author()
    opened_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["opened_at"]

    def __str__(self) -> str:
        return f"test set of {self.version} opened"

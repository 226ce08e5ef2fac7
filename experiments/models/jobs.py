"""The durable unit of slow work: jobs, the claims of them, and the processes that claim. Knows no noun that a job serves."""

from django.db import models

from experiments.models.accounts import Workspace
from experiments.models.base import Noun, author


class JobKind(models.TextChoices):
    PARSE = "parse", "Read an uploaded file"
    IMPORT = "import", "Check and store mapped rows"
    RUN = "run", "Train and validate an approach"
    EVALUATE = "evaluate", "Score an approach on a split"
    COMPARE = "compare", "Compute the comparison"
    LATENCY = "latency", "Measure latency"
    PREVIEW = "preview", "Try a prompt on a few rows"
    INSPECT = "inspect", "Verify a model"
    EXPLAIN = "explain", "Explain a soft prompt"


class Queue(models.TextChoices):
    GPU = "gpu", "gpu"
    IO = "io", "io"
    HOSTED = "hosted", "hosted"
    INTERACTIVE = "interactive", "interactive"


class JobState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Stopped"  # the API keeps the value
    QUARANTINED = "quarantined", "Set aside"

    @classmethod
    def terminal(cls) -> list["JobState"]:
        return [cls.SUCCEEDED, cls.FAILED, cls.CANCELLED, cls.QUARANTINED]


class Job(Noun):
    """The row is the job; a broker message is only a hint that it exists.

    `fence` only grows; whoever holds the current fence may write. `lease_until` is set and compared by the database's clock.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=20, choices=JobKind)
    queue = models.CharField(max_length=20, choices=Queue)
    state = models.CharField(max_length=20, choices=JobState, default=JobState.QUEUED)
    payload = models.JSONField(default=dict, help_text="What to do, as ids and settings; never data.")
    idempotency_key = models.CharField(max_length=120, null=True, blank=True)
    created_by = author()

    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=120, blank=True)
    num_attempts = models.PositiveIntegerField(default=0)
    num_crashes = models.PositiveIntegerField(default=0)
    crashes_without_progress = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)
    dispatched_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)

    progress = models.JSONField(default=dict, blank=True, help_text="The engine's last progress message.")
    progress_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error_kind = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True, help_text="One sentence for a person.")
    error_detail = models.TextField(blank=True, help_text="For the ML engineer: the tail of the traceback or log.")

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "idempotency_key"], name="job_idempotency_key_once"),
            models.CheckConstraint(condition=models.Q(state__in=JobState.values), name="job_state_known"),
        ]
        indexes = [
            models.Index(fields=["state", "queue", "created_at"], name="job_claim"),
            models.Index(fields=["state", "lease_until"], name="job_lease"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.state})"

    @property
    def has_ended(self) -> bool:
        return self.state in JobState.terminal()


class Attempt(models.Model):
    """One claim of a job."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    fence = models.PositiveIntegerField()
    worker = models.CharField(max_length=120)
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True, help_text="succeeded, failed, cancelled, lost or requeued.")
    detail = models.TextField(blank=True)
    peak_memory_bytes = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["fence"]
        constraints = [models.UniqueConstraint(fields=["job", "fence"], name="attempt_fence_once")]

    def __str__(self) -> str:
        return f"attempt {self.fence} of {self.job_id}"


class Worker(models.Model):
    """A process that claims jobs, known by its heartbeat."""

    name = models.CharField(max_length=120, unique=True)
    queue = models.CharField(max_length=20, choices=Queue)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    device = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["queue", "name"]

    def __str__(self) -> str:
        return self.name

"""What a run gave: trials, evaluations, row predictions, scores and the tuned artifact. Every row names the attempt that wrote it."""

from django.db import models

from experiments.models.base import Noun
from experiments.models.comparisons import Approach, Run
from experiments.models.datasets import DatasetVersion, Example, Split
from experiments.models.jobs import Attempt, Job

SCORE_NAMES = {
    "accuracy": "Right",
    "macro_f1": "Macro-F1",
    "token_f1": "Token F1",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "format": "Form kept",
}


class Evaluation(Noun):
    """A run on one dataset version, split, suite and repetition. Complete once `attempt` names the winner."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="evaluations")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="evaluations")
    split = models.CharField(max_length=10, choices=Split)
    suite = models.CharField(max_length=20, default="plain")
    repetition = models.PositiveIntegerField(default=0)
    num_rows = models.PositiveIntegerField(null=True, blank=True, help_text="Most rows that are answered to teach by, a draw; empty: all.")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="evaluations")
    attempt = models.ForeignKey(Attempt, null=True, on_delete=models.PROTECT, related_name="won_evaluations")
    summary = models.JSONField(default=dict, blank=True, help_text="The engine's counts, token means and timings.")
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["run", "dataset_version", "split", "suite", "repetition"], name="evaluation_once"),
        ]

    def __str__(self) -> str:
        return f"{self.run} on {self.split}"


class Prediction(models.Model):
    """One row's answer, tagged with the attempt that gave it; only the winning attempt's rows are ever read."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="predictions")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="predictions")
    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="predictions")
    predicted = models.TextField(blank=True)
    correct = models.BooleanField()
    text = models.TextField(blank=True, help_text="Raw output of a generated answer.")
    first_text = models.TextField(blank=True, help_text="What the first of two steps wrote about the row.")
    loglikelihoods = models.JSONField(default=dict, blank=True, help_text="{label: log-likelihood}, nats.")
    prompt_tokens = models.PositiveIntegerField(default=0)
    virtual_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    computed_tokens = models.PositiveIntegerField(default=0)
    seconds = models.FloatField(default=0.0)
    error = models.TextField(blank=True)
    quality = models.JSONField(null=True, help_text="Of a free answer: {token_f1, rouge_l, chrf, exact_match, format}, 0 to 1.")
    format_problem = models.CharField(max_length=200, blank=True, help_text="What is wrong with the form of a free answer.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["evaluation", "attempt", "example"], name="prediction_once")]
        indexes = [models.Index(fields=["evaluation", "correct", "example"], name="prediction_correct")]

    def __str__(self) -> str:
        return f"prediction for row {self.example_id}"


class Score(models.Model):
    """One metric of one evaluation, recomputed from stored predictions. A missing value keeps its reason."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="scores")
    metric = models.CharField(max_length=40)
    value = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    n = models.PositiveIntegerField()
    signature = models.CharField(max_length=200, help_text="How it was computed, enough to compute it again.")
    reason = models.CharField(max_length=200, blank=True, help_text="Why the value is missing.")

    class Meta:
        ordering = ["metric"]
        constraints = [models.UniqueConstraint(fields=["evaluation", "metric"], name="score_once")]

    def __str__(self) -> str:
        return f"{self.metric} = {self.value}"

    @property
    def label(self) -> str:
        """The metric's name on the pages."""
        return SCORE_NAMES.get(self.metric, self.metric)


class Artifact(Noun):
    """A tuned prompt or adapter: files by hash, a manifest, and the run it comes from."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="artifact")
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="artifacts")
    files = models.JSONField(help_text="{name: {sha256, bytes}}, in file storage.")
    manifest = models.JSONField()
    num_bytes = models.PositiveBigIntegerField()
    explanation = models.JSONField(default=dict, blank=True, help_text="What each learned token is close to and worth; empty until asked.")
    explain_job = models.OneToOneField(Job, null=True, on_delete=models.SET_NULL, related_name="explained")

    def __str__(self) -> str:
        return f"artifact of {self.run}"


class Focus(models.Model):
    """Which train rows an approach sees more often than the others: those that an earlier run got wrong, or right by little."""

    approach = models.OneToOneField(Approach, on_delete=models.CASCADE, related_name="focus")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="+", help_text="Whose mistakes they are.")
    times = models.PositiveIntegerField(help_text="How often each of the rows stands in a pass over the train rows; 1 is as often as all.")
    odds = models.FloatField(help_text="Right answers count as close up to this many times as likely as the next label.")
    rows = models.JSONField(help_text="Ids of the train rows.")
    left_out = models.JSONField(default=list, help_text="Ids of train rows whose label a person called wrong; nothing learns from them.")

    def __str__(self) -> str:
        return f"{len(self.rows)} rows {self.times} times for {self.approach}"


class Trial(models.Model):
    """One configuration tried inside a run and judged on validation rows, never on test rows.

    A configuration that does well is looked at again on more rows; the columns hold its last look, `looks` all of them.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="trials")
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="trials")
    number = models.PositiveIntegerField(help_text="Place among the configurations of the run, from 0: the one that it started from.")
    name = models.CharField(max_length=300, help_text="What is different in it, in a few words.")
    config = models.JSONField(default=dict, help_text="The whole configuration, enough to try it again.")
    looks = models.JSONField(default=list, help_text="[{rung, rows, correct, loss, tokens, seconds}] in order, sums over all rows so far.")
    rung = models.PositiveIntegerField(default=0)
    rows = models.PositiveIntegerField(default=0, help_text="Validation rows that it has answered.")
    accuracy = models.FloatField(null=True)
    loss = models.FloatField(null=True, help_text="Mean over those rows, nats.")
    seconds = models.FloatField(default=0.0, help_text="Device seconds of all its looks.")
    problem = models.TextField(blank=True, help_text="Why it could not be tried.")
    is_winner = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="trial_number_once")]

    def __str__(self) -> str:
        return f"trial {self.number} of {self.run}"

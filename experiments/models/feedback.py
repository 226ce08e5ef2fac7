"""What people say of single answers. Knows nothing of what is learned from it."""

from django.db import models

from experiments.models.base import author
from experiments.models.comparisons import Run
from experiments.models.datasets import Example


class Verdict(models.TextChoices):
    WRONG = "wrong", "Wrong"
    RIGHT = "right", "Right"


class Feedback(models.Model):
    """A person's mark on a run's answer to one train row. One of each person and answer; it can be changed.

    What was marked is kept beside it, for the mark is about those words. Run and row stand here instead of the stored
    answer, so that answers can still be deleted by one statement.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="feedback")
    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="feedback")
    by = author()
    verdict = models.CharField(max_length=5, choices=Verdict)
    right_answer = models.TextField(blank=True, help_text="What it should have answered, where the person says so.")
    note = models.TextField(blank=True)
    answer = models.TextField(help_text="What the run had answered.")
    was_right = models.BooleanField(help_text="Whether the answer counts as right by the data.")
    created_at = models.DateTimeField(auto_now=True, help_text="When it was given, or last changed.")

    class Meta:
        ordering = ["example__position", "pk"]
        constraints = [models.UniqueConstraint(fields=["run", "example", "by"], name="feedback_once")]
        verbose_name_plural = "feedback"

    def __str__(self) -> str:
        return f"{self.verdict}: {self.run} on {self.example}"

    @property
    def doubts_label(self) -> bool:
        """Whether the person contradicts the data: one of the two is mistaken, and nobody knows which."""
        if self.verdict == Verdict.RIGHT:
            return not self.was_right
        return self.answer == self.example.label or self.right_answer not in ("", self.example.label)

"""A tuned run with its artifact, and its answers to the train rows, as workers would have left them."""

from collections.abc import Mapping, Sequence

from django.utils import timezone

from experiments.catalogue.recipes import recipe_options
from experiments.models import Evaluation, Example, JobState, Prediction, Run, Workspace
from experiments.planning.mistakes import Mistakes, mistakes_of, train_evaluation
from experiments.services.second_rounds import mistakes_find
from tests import factories


def make_tuned_run(workspace: Workspace, *, seed: int = 0) -> Run:
    """A soft prompt that has succeeded on four train rows of two labels."""
    approach = factories.make_approach(
        factories.make_experiment(workspace, launched_at=timezone.now(), finished_at=timezone.now()),
        name="Soft prompt",
        family="tuned",
        method="prompt_tuning",
        recipe=recipe_options("soft_prompt", {"max_steps": 30}),
        backbone=factories.make_backbone(),
        template_version=factories.make_template_version(workspace),
    )
    run = factories.make_run(approach, state="succeeded", seed=seed)
    factories.make_artifact(run)
    return run


def answer_train_rows(run: Run, margins: Sequence[float], errors: Mapping[int, str] | None = None) -> list[int]:
    """Let the run have answered its train rows; below 0 the answer is wrong. Returns the rows' ids.

    Args:
        margins: log-likelihood of the right label less that of the other, a row each.
    """
    evaluation = mistakes_find(run=run, by=None)
    rows = list(Example.objects.filter(version=evaluation.dataset_version, split="train").order_by("position"))
    attempt = factories.make_attempt(evaluation.job)
    for at, (row, margin) in enumerate(zip(rows, margins, strict=True)):
        other = next(label for label in evaluation.dataset_version.labels if label != row.label)
        Prediction.objects.create(
            evaluation=evaluation,
            attempt=attempt,
            example=row,
            predicted=row.label if margin > 0 else other,
            correct=margin > 0 and at not in (errors or {}),
            loglikelihoods={row.label: -1.0, other: -1.0 - margin},
            error=(errors or {}).get(at, ""),
        )
    Evaluation.objects.filter(pk=evaluation.pk).update(attempt=attempt, completed_at=timezone.now())
    type(evaluation.job).objects.filter(pk=evaluation.job_id).update(state=JobState.SUCCEEDED)
    return [row.pk for row in rows]


def mistakes_in(run: Run, odds: float) -> Mistakes:
    """What a run that has answered its train rows got wrong, or right by less than these odds."""
    evaluation = train_evaluation(run)
    assert evaluation
    return mistakes_of(evaluation, odds)

"""What a storm works on, and the count afterwards. Imported once Django is set up."""

import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db.models import Count

from experiments.database_clock import from_now
from experiments.models import Attempt, Backbone, Evaluation, Experiment, Job, JobState, Prediction, Run, Worker, Workspace
from experiments.services.launches import experiment_launch
from tests import factories

IS_REAL = os.environ.get("STORM_ENGINE") == "real"
LEASE_SECONDS = settings.JOB_LEASE_SECONDS
NUM_APPROACHES, NUM_ROWS = (2, 100) if IS_REAL else (6, 300)
# Enough steps to be hit in training, few enough to end soon on a model of two layers.
TUNED = {"max_steps": 60, "evaluate_every": 20, "batch_size": 8, "warmup_steps": 2, "num_virtual_tokens": 4, "validation_rows": 16}


def prepare(num_rows: int) -> None:
    """A workspace with one dataset version of `num_rows` validation and test rows."""
    workspace = factories.make_workspace("storm")
    rows = [(split, f"message {number}", factories.LABELS[number % 2]) for split in ("validation", "test") for number in range(num_rows)]
    factories.make_dataset_version(workspace, [("train", "a", "refund"), ("train", "b", "delivery"), *rows])
    factories.make_template_version(workspace)
    if IS_REAL:
        folder = Path(os.environ["PROMPTLAB_HOME"]) / "tiny"
        # In a process of its own: a parent that has loaded torch is no picture of the web.
        subprocess.run([sys.executable, "-m", "tests.workers.tiny_model", str(folder)], check=True, cwd=Path(__file__).parents[2])
        factories.make_backbone(workspace, name="Tiny", kind="local", source=str(folder))
    else:
        factories.make_backbone()


def keep_busy() -> None:
    """Launch another comparison when little is left to do."""
    if num_open() <= NUM_APPROACHES / 2:
        launch(NUM_APPROACHES)


def launch(num_approaches: int) -> None:
    """Launch a comparison of written prompts and, every second one, soft prompts."""
    workspace = Workspace.objects.get(slug="storm")
    version = workspace.datasets.get().versions.get()
    number = Experiment.objects.count()
    experiment = factories.make_experiment(workspace, name=f"Storm {number}", dataset_version=version, open_test_when_finished=True)
    template, backbone = workspace.prompt_templates.get().versions.get(), Backbone.objects.get()
    for position in range(num_approaches):
        tuned = {"method": "prompt_tuning", "family": "tuned", "recipe": TUNED if IS_REAL else {}} if position % 2 else {}
        factories.make_approach(experiment, name=f"Approach {position}", template_version=template, backbone=backbone, **tuned)
    experiment_launch(experiment=experiment, by=None, key=f"storm-{number}")


def num_open() -> int:
    return Job.objects.exclude(state__in=JobState.terminal()).count()


def num_running() -> int:
    return Job.objects.filter(state=JobState.RUNNING, queue="gpu").count()


def num_unheard_since(moment: datetime) -> int:
    """Running jobs whose lease nobody has renewed since."""
    return Job.objects.filter(state=JobState.RUNNING, lease_until__lte=moment + timedelta(seconds=LEASE_SECONDS)).count()


def num_storing() -> int:
    """Running jobs of which some predictions are stored already."""
    return Job.objects.filter(state=JobState.RUNNING, attempts__predictions__isnull=False).distinct().count()


def num_in(phase: str) -> int:
    """Running jobs whose engine was in this phase when it was last heard."""
    return Job.objects.filter(state=JobState.RUNNING, queue="gpu", progress__phase=phase).count()


def num_crashes() -> int:
    return Attempt.objects.filter(outcome="lost").count()


def num_workers() -> int:
    return Worker.objects.filter(seen_at__gte=from_now(-4)).count()


def wipe_hints() -> None:
    """Lose every message that waits."""
    if settings.REDIS_URL:
        import redis

        with redis.Redis.from_url(settings.REDIS_URL) as client:
            client.flushdb()
        return
    shutil.rmtree(settings.HINTS_DIR / "queue")
    Path(settings.HINTS_DIR / "queue").mkdir(mode=0o700)


def audit(num_rows: int) -> dict[str, Any]:
    """Count what is lost, doubled, mixed or half done. Everything but `jobs`, `attempts` and `lost_attempts` has to be 0."""
    evaluations = list(Evaluation.objects.select_related("attempt__job"))
    return {
        "jobs": Job.objects.count(),
        "attempts": Attempt.objects.count(),
        "lost_attempts": Attempt.objects.filter(outcome="lost").count(),
        "lost": Job.objects.exclude(state=JobState.SUCCEEDED).count() + sum(evaluation.attempt is None for evaluation in evaluations),
        "errors": list(Job.objects.exclude(error="").values_list("error", "error_detail")[:3]),
        "doubled": _doubled_jobs() + sum(evaluation.predictions.count() != num_rows for evaluation in evaluations),
        "mixed": sum(_is_mixed(evaluation) for evaluation in evaluations),
        "wrong_scores": sum(_is_wrong(evaluation, num_rows) for evaluation in evaluations),
        "left_over_predictions": Prediction.objects.exclude(attempt__outcome="succeeded").count(),
        "open_attempts": Attempt.objects.filter(ended_at=None).count(),
        "runs_without_evaluation": Run.objects.annotate(n=Count("evaluations")).exclude(n=2).count(),
        "unfinished_experiments": Experiment.objects.filter(finished_at=None).count(),
        "experiments_without_latency": Experiment.objects.filter(latency={}).count(),
        "missing_tables": 2 * Experiment.objects.count() - sum(experiment.tables.count() for experiment in Experiment.objects.all()),
        "missing_artifacts": Run.objects.filter(approach__method="prompt_tuning", artifact=None).count(),
    }


def _doubled_jobs() -> int:
    """Jobs that more than one attempt finished."""
    return Attempt.objects.filter(outcome="succeeded").values("job").annotate(n=Count("pk")).filter(n__gt=1).count()


def _is_mixed(evaluation: Evaluation) -> bool:
    """Whether rows of two attempts stand together: the scripted engine signs every answer with its attempt.

    The real one gives the same answers each time, so a written prompt must answer as it did in every other comparison.
    """
    if evaluation.attempt is None:
        return False
    if IS_REAL:
        return evaluation.predictions.exclude(attempt=evaluation.attempt).exists() or _differs_from_its_twins(evaluation)
    signature = f"{evaluation.attempt.job_id}:{evaluation.attempt.fence}"
    return evaluation.predictions.exclude(attempt=evaluation.attempt, text=signature).exists()


def _differs_from_its_twins(evaluation: Evaluation) -> bool:
    approach = evaluation.run.approach
    if approach.method != "hard_prompt":
        return False
    twin = Evaluation.objects.filter(run__approach__method="hard_prompt", split=evaluation.split).earliest("created_at")
    answers = [dict(each.predictions.values_list("example", "predicted")) for each in (evaluation, twin)]
    return answers[0] != answers[1]


def _is_wrong(evaluation: Evaluation, num_rows: int) -> bool:
    """Whether a score is not that of the stored rows."""
    scores = {score.metric: score for score in evaluation.scores.all()}
    share = evaluation.predictions.filter(correct=True).count() / num_rows
    return set(scores) != {"accuracy", "macro_f1"} or scores["accuracy"].n != num_rows or scores["accuracy"].value != pytest.approx(share)

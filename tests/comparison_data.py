"""A finished comparison with predictions and results, as workers would have left it. Fixed values, no randomness from outside."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from experiments.catalogue.recipes import CATALOGUE, recipe_options
from experiments.models import (
    Approach,
    Artifact,
    Backbone,
    DatasetVersion,
    Evaluation,
    Example,
    Experiment,
    Job,
    Prediction,
    PriceBook,
    Run,
    TemplateVersion,
    TestOpening,
    Workspace,
)
from experiments.reads.reports import build_table
from experiments.services.experiments import comparison_store
from tests import factories

QUEUES = ["refund", "delivery", "card lost", "login", "fees", "limits"]
# recipe, name, share right, tokens (fixed, row, virtual, completion, computed), rows/s, seconds of training, trained parameters
SHAPES = [
    ("zero_shot", "Zero-shot: Short v1", 0.42, (18, 14, 0, 2, 17), 212.0, 0, 0),
    ("zero_shot", "Zero-shot: Careful v2", 0.55, (164, 14, 0, 2, 19), 198.0, 0, 0),
    ("few_shot", "Few-shot: Careful v3", 0.61, (420, 14, 0, 2, 21), 151.0, 0, 0),
    ("soft_prompt", "Soft prompt", 0.79, (4, 14, 20, 2, 17), 205.0, 48.0, 11_520),
    ("hybrid", "Hybrid", 0.84, (164, 14, 20, 2, 19), 190.0, 71.0, 11_520),
    ("lora", "LoRA", 0.896, (164, 14, 0, 2, 19), 186.0, 96.0, 1_221_120),
    ("majority", "Most frequent label", 0.19, (0, 0, 0, 0, 0), 90_000.0, 0, 0),
    ("label_overlap", "Words shared with the label", 0.33, (0, 0, 0, 0, 0), 40_000.0, 0, 0),
    ("tfidf_logreg", "TF-IDF + logistic regression", 0.83, (0, 0, 0, 0, 0), 21_000.0, 0, 0),
    ("linear_probe", "Linear probe", 0.81, (0, 14, 0, 0, 14), 230.0, 0, 0),
]
TUNED = ("soft_prompt", "hybrid", "lora")
LATENCY_PASS = {
    "requests": 200,
    "load": 0.1,
    "cores": 2,
    "seconds": 41.0,
    "machine": {"device": "cpu", "device_name": "2 cores", "threads": 2},
    "withheld": None,
    "measured_at": "2026-11-22T09:00:00+00:00",
}


def make_rows(num_validation: int, num_test: int = 0) -> list[tuple[str, str, str]]:
    """Train, validation and test rows with texts of their own."""
    rows = []
    for split, number in (("train", 60), ("validation", num_validation), ("test", num_test)):
        for at in range(number):
            label = QUEUES[at % len(QUEUES)]
            rows.append((split, f"{split} message {at} about {label}: I have waited for days & need <help> now", label))
    return rows


def make_price_book(workspace: Workspace, **overrides: Any) -> PriceBook:
    prices = {"device_hour": Decimal("1.20"), "wrong_answer": Decimal("0.40")}
    return PriceBook.objects.create(
        **{"workspace": workspace, "name": "Cloud 2026", "currency": "EUR", "effective_on": date(2026, 10, 1)} | prices | overrides
    )


def make_finished_experiment(
    workspace: Workspace,
    *,
    num_validation: int = 60,
    num_test: int = 0,
    seeds: tuple[int, ...] = (0, 1),
    num_runs: int | None = None,
    **overrides: Any,
) -> Experiment:
    """A comparison whose runs have all succeeded, with stored predictions and tables; the test set is open when there are test rows."""
    dataset = factories.make_dataset(workspace, name=f"Triage {workspace.datasets.count() + 1}", attribution="Made for tests.")
    version = factories.make_dataset_version(workspace, make_rows(num_validation, num_test), dataset)
    template = factories.make_template_version(workspace, name=f"Triage prompt {workspace.prompt_templates.count() + 1}")
    now = timezone.now()
    experiment = factories.make_experiment(
        workspace,
        dataset_version=version,
        seeds=list(seeds),
        launched_at=now - timedelta(minutes=5),
        launch_key=f"seeded-{dataset.pk}",
        **overrides,
    )
    planned = [(shape, seed) for shape in SHAPES for seed in (seeds if shape[0] in TUNED else (0,))]
    if num_runs:
        planned = [(SHAPES[at % len(SHAPES)], at // len(SHAPES)) for at in range(num_runs)]
    approaches: dict[Any, Approach] = {}
    figures: dict[str, Any] = {}
    for shape, seed in planned:
        key = (shape[1], 0 if shape[0] in TUNED else seed)
        if key not in approaches:
            approaches[key] = make_shaped_approach(experiment, shape, template, number=key[1])
        make_finished_run(approaches[key], shape, seed)
        figures[str(approaches[key].pk)] = make_latency(shape)
    experiment.latency = LATENCY_PASS | {"approaches": figures}
    experiment.save(update_fields=["latency"])
    if num_test:
        TestOpening.objects.create(version=version, experiment=experiment)
    for split in ["validation", *(["test"] if num_test else [])]:
        comparison_store(experiment=experiment, split=split, payload=build_table(experiment, split), job=None)
    Experiment.objects.filter(pk=experiment.pk).update(finished_at=now)
    experiment.refresh_from_db()
    return experiment


def make_latency(shape: Any) -> dict[str, Any]:
    return {"rows": 200, "p50_ms": 1000 / shape[4] * 3, "p95_ms": 1000 / shape[4] * 5, "cpu_p50_ms": 1000 / shape[4], "withheld": None}


def make_shaped_approach(experiment: Experiment, shape: Any, template: TemplateVersion, *, number: int) -> Approach:
    kind = CATALOGUE[shape[0]]
    return factories.make_approach(
        experiment,
        name=shape[1] + (f" ({number + 1})" if number else ""),
        family=kind.family,
        method=kind.method,
        recipe=recipe_options(kind.key, {}),
        template_version=template,
        backbone=Backbone.objects.filter(name="Seeded starter").first() or factories.make_backbone(name="Seeded starter"),
    )


def make_finished_run(approach: Approach, shape: Any, seed: int) -> Run:
    version = approach.experiment.dataset_version
    job = factories.make_job(
        approach.experiment.workspace, state="succeeded", fence=1, finished_at=timezone.now(), started_at=timezone.now()
    )
    attempt = factories.make_attempt(job, outcome="succeeded")
    run = Run.objects.create(approach=approach, seed=seed, job=job, result=make_result(shape, seed))
    if shape[6]:
        Artifact.objects.create(run=run, attempt=attempt, files={}, manifest={}, num_bytes=shape[6] * 4)
    for split in ("validation", "test"):
        if version.split_counts.get(split):
            make_predictions(run, shape, split, job, attempt)
    return run


def make_result(shape: Any, seed: int) -> dict[str, Any]:
    """What the engine records, in its own shape."""
    trained = shape[5] > 0
    curve = [
        {"step": step, "train_loss": 2.2 / (1 + step / 40) + seed * 0.03, "validation_accuracy": shape[2] - 0.5 / (1 + step / 25)}
        | {"validation_loss": 1.0, "seconds": step * shape[5] / 250}
        for step in range(0, 251, 50)
    ]
    training = {"steps": 250, "best_step": 200, "train_seconds": shape[5], "evaluation_seconds": 9.0, "curve": curve} if trained else None
    return {
        "training": training,
        "parameters": {"trainable": shape[6], "total": 66_362_880} if trained else {},
        "forgetting": {"before": 3.412, "after": 3.518} if trained else None,
        "device": "cpu",
        "device_name": "2 cores",
        "dtype": "bf16",
        "versions": {"torch": "2.9.0", "transformers": "5.23.0", "peft": "0.21.2"},
        "warnings": [],
    }


def make_predictions(run: Run, shape: Any, split: str, job: Job, attempt: Any) -> Evaluation:
    """Answers that are right as often as the shape says; one row has an error."""
    version: DatasetVersion = run.approach.experiment.dataset_version
    examples = list(Example.objects.filter(version=version, split=split).order_by("position").only("pk", "label"))
    chance = random.Random(f"{shape[1]}{run.seed}{split}")
    evaluation = Evaluation.objects.create(
        run=run, dataset_version=version, split=split, job=job, attempt=attempt, completed_at=timezone.now()
    )
    predictions = []
    for at, example in enumerate(examples):
        failed = at == 7
        right = chance.random() < shape[2] - 0.01 * run.seed and not failed
        answer = example.label if right else "" if failed else QUEUES[(QUEUES.index(example.label) + 1 + chance.randrange(2)) % len(QUEUES)]
        predictions.append(
            Prediction(
                evaluation=evaluation,
                attempt=attempt,
                example=example,
                predicted=answer,
                correct=right,
                error="The row is longer than the model can hold." if failed else "",
                prompt_tokens=shape[3][0] + shape[3][1],
                virtual_tokens=shape[3][2],
                completion_tokens=shape[3][3],
                computed_tokens=shape[3][4],
            )
        )
    Prediction.objects.bulk_create(predictions, batch_size=2_000)
    evaluation.summary = make_summary(shape, predictions, split)
    evaluation.save(update_fields=["summary"])
    return evaluation


def make_summary(shape: Any, predictions: list[Prediction], split: str) -> dict[str, Any]:
    keys = ("fixed_tokens", "row_tokens", "virtual_tokens", "completion_tokens", "computed_tokens")
    return {
        "n": len(predictions),
        "correct": sum(each.correct for each in predictions),
        "accuracy": sum(each.correct for each in predictions) / len(predictions),
        "errors": 1,
        "skipped": 0,
        "mean_tokens": dict(zip(keys, shape[3], strict=True)),
        "rows_per_second": shape[4],
        "device": "cpu",
    }

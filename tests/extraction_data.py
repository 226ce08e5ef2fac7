"""A finished comparison of free answers, as workers would have left it: a soft prompt with explained tokens among the approaches."""

from __future__ import annotations

import random
from typing import Any

from django.utils import timezone

from experiments.catalogue.generation import GenerationPlan
from experiments.catalogue.recipes import CATALOGUE, recipe_options
from experiments.models import Approach, Artifact, Evaluation, Example, Experiment, Prediction, Run, Score, Workspace
from experiments.reads.reports import build_table
from experiments.services.experiments import comparison_store
from experiments.services.scores import scores_compute
from tests import factories
from workers.engine.contract.answer_rules import AnswerFormat
from workers.engine.contract.outcome import Prediction as Answer
from workers.engine.figures.formats import FormatChecker
from workers.engine.figures.metrics import extraction_metrics

CITIES = ["London", "Berlin", "New York", "Rome", "São Paulo", "Oslo"]
SHAPES = [("zero_shot", "Zero-shot: Short v1", 0.35), ("soft_prompt", "Soft prompt", 0.8), ("lora", "LoRA", 0.9)]
RULES = GenerationPlan(max_new_tokens=16, pattern=r"[\w ]{2,20}", max_characters=20)
WORDS = [" city", " town", "##berg", " where", "place"]
NUM_TOKENS = 8


def make_finished_extraction(workspace: Workspace, *, num_rows: int = 60) -> Experiment:
    """Cities to take out of messages; validation rows only."""
    cities = [CITIES[at % len(CITIES)] for at in range(num_rows + 12)]
    rows = [
        ("train" if at < 12 else "validation", f"message {at}: my card was stolen in {city} <b>", city) for at, city in enumerate(cities)
    ]
    dataset = factories.make_dataset(workspace, name="Cities")
    version = factories.make_dataset_version(workspace, rows, dataset, task="extraction", labels=[])
    now = timezone.now()
    experiment = factories.make_experiment(
        workspace, name="Which city?", dataset_version=version, generation=RULES.to_json(), launched_at=now, launch_key="cities"
    )
    template = factories.make_template_version(workspace, name="City prompt", user="Which city?\n{{text}}")
    for key, name, share in SHAPES:
        kind = CATALOGUE[key]
        approach = factories.make_approach(
            experiment,
            name=name,
            family=kind.family,
            method=kind.method,
            recipe=recipe_options(key, {}),
            template_version=template,
            backbone=factories.make_backbone(name=f"Starter for {name}"),
        )
        make_answered_run(approach, share)
    comparison_store(experiment=experiment, split="validation", payload=build_table(experiment, "validation"), job=None)
    experiment.refresh_from_db()
    return experiment


def make_answered_run(approach: Approach, share: float) -> Run:
    """Answers that are right as often as the share says, measured by the engine itself."""
    version = approach.experiment.dataset_version
    job = factories.make_job(approach.experiment.workspace, state="succeeded", fence=1, finished_at=timezone.now())
    attempt = factories.make_attempt(job, outcome="succeeded")
    run = Run.objects.create(approach=approach, job=job, result=make_result(approach))
    evaluation = Evaluation.objects.create(
        run=run, dataset_version=version, split="validation", job=job, attempt=attempt, completed_at=timezone.now()
    )
    examples = list(Example.objects.filter(version=version, split="validation").order_by("position"))
    chance = random.Random(approach.name)
    answers = [Answer(str(each.pk), each.label, text=make_answer(each.label, share, chance)) for each in examples]
    metrics = extraction_metrics(answers, FormatChecker(AnswerFormat(pattern=RULES.pattern, max_characters=20)), 2.0)
    Prediction.objects.bulk_create(
        Prediction(
            evaluation=evaluation,
            attempt=attempt,
            example=example,
            predicted=answer.text,
            text=answer.text,
            correct=answer.is_correct,
            quality=answer.quality,
            format_problem=answer.format_problem or "",
        )
        for example, answer in zip(examples, answers, strict=True)
    )
    evaluation.summary = {"accuracy": metrics.accuracy, "rows_per_second": metrics.rows_per_second, "skipped": 0}
    evaluation.save(update_fields=["summary"])
    Score.objects.bulk_create(scores_compute(evaluation=evaluation, attempt_id=attempt.pk))
    if run.result["learned_tokens"]:
        Artifact.objects.create(run=run, attempt=attempt, files={}, manifest={}, num_bytes=4_096, explanation=make_ablation())
    return run


def make_answer(label: str, share: float, chance: random.Random) -> str:
    if chance.random() < share:
        return label
    return chance.choice(["the city of " + label, "Paris", label.split()[0] + " and some other place far away", "12!"])


def make_result(approach: Approach) -> dict[str, Any]:
    is_tuned = approach.family in ("tuned", "hybrid")
    curve = [
        {
            "step": step,
            "train_loss": 3 / (1 + step / 40),
            "validation_loss": 2 / (1 + step / 60),
            "validation_accuracy": None,
            "seconds": step / 5,
        }
        for step in range(0, 251, 50)
    ]
    training = {"steps": 250, "best_step": 250, "train_seconds": 50.0, "evaluation_seconds": 4.0, "curve": curve}
    return {
        "training": training if is_tuned else None,
        "parameters": {"trainable": 3_072, "total": 66_362_880} if is_tuned else {},
        "forgetting": {"before": 3.412, "after": 3.957, "tokens": 571} if is_tuned else None,
        "learned_tokens": make_learned() if approach.method == "prompt_tuning" else None,
    }


def make_learned() -> dict[str, Any]:
    near = [{"text": word, "similarity": 0.6 - 0.09 * at} for at, word in enumerate(WORDS)]
    tokens = [
        {"nearest": near, "norm": 1.2 + place / 10, "drift": 0.3 + place / 20, "start_similarity": 0.97 - place / 50}
        for place in range(NUM_TOKENS)
    ]
    return {"mean_word_norm": 1.1, "tokens": tokens}


def make_ablation() -> dict[str, Any]:
    """As of a classification, whose table has a column more."""
    tokens = [
        {
            "lost": 20 if place == 2 else place,
            "won": 1,
            "accuracy_change": (1 - (20 if place == 2 else place)) / 60,
            "loss_change": place / 40,
        }
        for place in range(NUM_TOKENS)
    ]
    return {"rows": 60, "accuracy": 0.8, "loss": 0.41, "tokens": tokens}

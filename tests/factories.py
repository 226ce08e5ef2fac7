"""Rows for tests, with fixed values: `make_<noun>(**overrides)`. No randomness."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from experiments.models import (
    Approach,
    Artifact,
    Attempt,
    Backbone,
    Dataset,
    DatasetVersion,
    Evaluation,
    Example,
    Experiment,
    Feedback,
    Job,
    Membership,
    PromptTemplate,
    Role,
    Run,
    Split,
    TemplateVersion,
    User,
    Worker,
    Workspace,
)

LABELS = ["refund", "delivery"]
ROWS = [
    ("train", "I want my money back", "refund"),
    ("train", "please return the amount I paid", "refund"),
    ("train", "where is my parcel", "delivery"),
    ("train", "the courier never came", "delivery"),
    ("validation", "can I get a refund", "refund"),
    ("validation", "my package is late", "delivery"),
    ("test", "give me back my payment", "refund"),
    ("test", "when does it arrive", "delivery"),
]


def make_user(email: str = "alice@example.com", **overrides: Any) -> User:
    return User.objects.create_user(email, "correct horse battery", **overrides)


def make_workspace(slug: str = "acme", *, owner: User | None = None, **overrides: Any) -> Workspace:
    workspace = Workspace.objects.create(**{"name": slug.title(), "slug": slug} | overrides)
    if owner:
        make_membership(workspace, owner, Role.OWNER)
    return workspace


def make_membership(workspace: Workspace, user: User, role: Role = Role.VIEWER) -> Membership:
    return Membership.objects.create(workspace=workspace, user=user, role=role)


def make_dataset(workspace: Workspace, **overrides: Any) -> Dataset:
    return Dataset.objects.create(**{"workspace": workspace, "name": "Support mail"} | overrides)


def make_dataset_version(
    workspace: Workspace, rows: list[tuple[str, str, str]] = ROWS, dataset: Dataset | None = None, **overrides: Any
) -> DatasetVersion:
    """A complete version, with two labels and all three labelled splits unless told otherwise."""
    dataset = dataset or make_dataset(workspace)
    counts = {split: sum(1 for row in rows if row[0] == split) for split in Split.values}
    if not counts[Split.UNLABELLED]:
        del counts[Split.UNLABELLED]
    version = DatasetVersion.objects.create(
        **{
            "dataset": dataset,
            "number": dataset.versions.count() + 1,
            "source_name": "mail.csv",
            "source_sha256": "0" * 64,
            "source_bytes": 100,
            "mapping": {"text_columns": ["text"], "label_column": "label"},
            "columns": ["text"],
            "labels": list(dict.fromkeys(label for split, _, label in rows if split != Split.UNLABELLED)),
            "split_counts": counts,
            "content_sha256": "1" * 64,
            "completed_at": timezone.now(),
        }
        | overrides
    )
    Example.objects.bulk_create(
        Example(version=version, position=position, split=split, fields={"text": text}, label=label)
        for position, (split, text, label) in enumerate(rows, start=1)
    )
    return version


def make_template_version(workspace: Workspace, **overrides: Any) -> TemplateVersion:
    template = overrides.pop("template", None) or PromptTemplate.objects.create(workspace=workspace, name=overrides.pop("name", "Careful"))
    return TemplateVersion.objects.create(
        **{
            "template": template,
            "number": template.versions.count() + 1,
            "user": "Classify the message as refund or delivery.\nMessage: {{text}}",
            "answer_cue": "\nQueue:",
            "content_sha256": "2" * 64,
        }
        | overrides
    )


def make_backbone(workspace: Workspace | None = None, **overrides: Any) -> Backbone:
    return Backbone.objects.create(
        **{"workspace": workspace, "name": "Starter", "kind": "bundled", "verified_at": timezone.now()} | overrides
    )


def make_job(workspace: Workspace, **overrides: Any) -> Job:
    return Job.objects.create(**{"workspace": workspace, "kind": "run", "queue": "gpu"} | overrides)


def make_worker(queue: str, **overrides: Any) -> Worker:
    """A process that has just been seen."""
    now = timezone.now()
    return Worker.objects.create(**{"name": f"{queue}@here", "queue": queue, "started_at": now, "seen_at": now} | overrides)


def make_experiment(workspace: Workspace, **overrides: Any) -> Experiment:
    version = overrides.pop("dataset_version", None) or make_dataset_version(workspace)
    return Experiment.objects.create(
        **{"workspace": workspace, "name": "Which prompt?", "dataset_version": version, "seeds": [0]} | overrides
    )


def make_approach(experiment: Experiment, **overrides: Any) -> Approach:
    return Approach.objects.create(
        **{
            "experiment": experiment,
            "position": experiment.approaches.count(),
            "name": "Zero-shot",
            "family": "engineered",
            "method": "hard_prompt",
        }
        | overrides
    )


def make_run(approach: Approach, **overrides: Any) -> Run:
    job = overrides.pop("job", None) or make_job(approach.experiment.workspace, state=overrides.pop("state", "queued"))
    return Run.objects.create(**{"approach": approach, "seed": 0, "job": job} | overrides)


def make_attempt(job: Job, **overrides: Any) -> Attempt:
    return Attempt.objects.create(**{"job": job, "fence": job.fence, "worker": "worker-1"} | overrides)


def make_artifact(run: Run, **overrides: Any) -> Artifact:
    """The tuned prompt that a run left, without files."""
    manifest = {"recipe": {"method": run.approach.method, "options": run.approach.recipe}, "virtual_tokens": 20}
    defaults = {"attempt": make_attempt(run.job), "files": {}, "manifest": manifest, "num_bytes": 0}
    return Artifact.objects.create(run=run, **(defaults | overrides))


def make_feedback(run: Run, **overrides: Any) -> Feedback:
    """A mark on the first train row: a wrong answer, rightly counted as wrong."""
    example = Example.objects.filter(version=run.approach.experiment.dataset_version, split="train").earliest("position")
    return Feedback.objects.create(
        **{"run": run, "example": example, "verdict": "wrong", "answer": "delivery", "was_right": False} | overrides
    )


def make_evaluation(run: Run, **overrides: Any) -> Evaluation:
    return Evaluation.objects.create(
        **{"run": run, "dataset_version": run.approach.experiment.dataset_version, "split": "validation", "job": run.job} | overrides
    )

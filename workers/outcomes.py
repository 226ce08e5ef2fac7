"""The engine's answer becomes rows. With `workers.adapters`, the only place where both vocabularies meet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.models import Example, Job, JobKind, Prediction
from experiments.services.leases import Lease
from experiments.services.results import (
    ArtifactFiles,
    EvaluationSummary,
    explanation_commit,
    inspection_commit,
    latency_commit,
    predictions_store,
    preview_commit,
    run_commit,
)
from experiments.storage import store_file
from workers.adapters import PREVIEW, Order, evaluation_name

TOKEN_COUNTS = ("prompt_tokens", "virtual_tokens", "completion_tokens", "computed_tokens")
# What a reader of one evaluation needs to know about the run that gave it.
CIRCUMSTANCES = (
    "timings",
    "device",
    "device_name",
    "dtype",
    "threads",
    "shared_prefix",
    "frame",
    "warnings",
    "peak_memory_bytes",
    "endpoint",
)


def outcome_save(lease: Lease, order: Order, message: dict[str, Any]) -> None:
    """Save what the engine brought and end the job.

    Args:
        message: the host's `done` or `inspected`.
    Raises:
        LeaseLost: somebody else has the job; nothing of this attempt counts.
    """
    if lease.kind == JobKind.INSPECT:
        inspection_commit(lease=lease, facts=message["facts"])
    elif lease.kind == JobKind.LATENCY:
        latency_commit(lease=lease, report=_read(order.folder / "out" / "latency.json"))
    elif lease.kind == JobKind.PREVIEW:
        preview_commit(lease=lease, result=_preview_result(order.folder / "out"))
    elif lease.kind == JobKind.EXPLAIN:
        explanation_commit(lease=lease, ablation=_read(order.folder / "out" / "result.json")["ablation"])
    else:
        _save_run(lease, order.folder / "out")


def _save_run(lease: Lease, out: Path) -> None:
    result = _read(out / "result.json")
    evaluations = list(Job.objects.get(pk=lease.job_id).evaluations.select_related("dataset_version"))
    for evaluation in evaluations:
        rows = _rows(out / f"predictions-{evaluation_name(evaluation)}.jsonl")
        predictions_store(lease=lease, evaluation=evaluation, predictions=_predictions(rows))
    run_commit(
        lease=lease,
        evaluations=[EvaluationSummary(evaluation, _summary(result, evaluation_name(evaluation))) for evaluation in evaluations],
        result=result,
        artifact=_artifact(out, result),
        peak_memory_bytes=result.get("peak_memory_bytes") or None,
    )


def _predictions(rows: Iterator[dict[str, Any]]) -> Iterator[Prediction]:
    for row in rows:
        quality = row.get("quality")
        # An unlabelled row expects nothing, and no answer to it is right, an empty one included.
        is_right = bool(row["expected"]) and (bool(quality["exact_match"]) if quality else row["predicted"] == row["expected"])
        yield Prediction(
            example_id=int(row["id"]),
            predicted=row["predicted"] or "",
            correct=is_right and row["error"] is None,
            text=row["text"],
            first_text=row.get("first_text") or "",
            loglikelihoods=row["loglikelihoods"],
            seconds=row["seconds"] or 0.0,
            error=row["error"] or "",
            quality=quality,
            format_problem=(row.get("format_problem") or "")[:200],
            **{count: row.get(count) or 0 for count in TOKEN_COUNTS},
        )


def _summary(result: dict[str, Any], name: str) -> dict[str, Any]:
    """The engine's record of one evaluation: its metrics at the top, the circumstances beside them."""
    circumstances = {key: result[key] for key in CIRCUMSTANCES if key in result}
    return {**result["metrics"][name], **circumstances}


def _artifact(out: Path, result: dict[str, Any]) -> ArtifactFiles | None:
    """Put the tuned part's files into storage. They become visible with the row that names them."""
    record = result.get("artifact")
    if not record:
        return None
    folder = out / Path(record["folder"]).name
    files = {name: _store(folder / Path(name).name) for name in record["files"]}
    return ArtifactFiles(files=files, manifest=_read(folder / "promptlab.json"), num_bytes=record["bytes"])


def _store(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        sha256, size = store_file(file)
    return {"sha256": sha256, "bytes": size}


def _preview_result(out: Path) -> dict[str, Any]:
    """The rows in the order of the file, each with its rendered prompt, and the run's record."""
    rows = list(_rows(out / f"predictions-{PREVIEW}.jsonl"))
    known = Example.objects.in_bulk([int(row["id"]) for row in rows])
    for row in rows:
        example = known.get(int(row["id"]))
        row["position"], row["split"] = (example.position, example.split) if example else (None, None)
    return {"rows": rows, "result": _read(out / "result.json")}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content

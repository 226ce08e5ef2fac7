"""A latency pass: single requests of every approach of a comparison, timed in turn by one job when all its other work has ended.

The last pass stands on the experiment and, copied, in the rows of its tables, which pages and reports read.
"""

from collections.abc import Mapping
from typing import Any

from experiments.models import Experiment, Job, JobKind, Queue, User
from experiments.services.job_queue import job_create


def latency_key(experiment: Experiment) -> str:
    """What the idempotency keys of all latency passes of an experiment begin with."""
    return f"latency:{experiment.pk}"


def latency_queue(*, experiment: Experiment, by: User | None, occasion: str) -> Job:
    """Queue a pass, once for each occasion."""
    return job_create(
        workspace=experiment.workspace,
        kind=JobKind.LATENCY,
        queue=Queue.GPU,
        payload={"experiment": str(experiment.pk)},
        by=by,
        idempotency_key=f"{latency_key(experiment)}:{occasion}",
    )


def latency_applied(payload: Mapping[str, Any], latency: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the figures of a pass in its rows, and the circumstances of the pass beside them.

    A hosted approach has the latency of its calls, which no pass measures again.
    """
    figures = latency.get("approaches", {})
    rows = [{**row, "latency": figures.get(row["approach"]) or row.get("calls_latency")} for row in payload.get("rows", [])]
    return {**payload, "rows": rows, "latency": {key: value for key, value in latency.items() if key != "approaches"} or None}

"""Asking what each learned token of a soft prompt is worth: a job of its own, since it scores the validation rows once a token."""

from django.db import transaction

from experiments.errors import UserError
from experiments.models import Artifact, Job, JobKind, JobState, Queue, Run, Split, User
from experiments.services.audit import audit_record
from experiments.services.job_queue import job_create


def explanation_start(*, run: Run, by: User | None) -> Job:
    """Queue the explanation of a run's learned tokens. While one is under way, or once it has succeeded, that one is the answer.

    Raises:
        UserError: the run has left no learned tokens, or there are no validation rows to take them out on.
    """
    with transaction.atomic():
        artifact = Artifact.objects.select_for_update(of=("self",)).select_related("explain_job").filter(run=run).first()
        if artifact is None or not run.result.get("learned_tokens"):
            raise UserError(
                "This run has left no learned tokens to explain. Soft prompts, hybrids and P-tuning leave some once they succeed."
            )
        experiment = run.approach.experiment
        if not experiment.dataset_version.split_counts.get(Split.VALIDATION):
            raise UserError("There are no validation rows to take the learned tokens out on.")
        known = artifact.explain_job
        if known and (known.state == JobState.SUCCEEDED or not known.has_ended):
            return known
        payload = {"explain": str(run.pk)}
        artifact.explain_job = job_create(workspace=experiment.workspace, kind=JobKind.EXPLAIN, queue=Queue.GPU, payload=payload, by=by)
        artifact.save(update_fields=["explain_job"])
        audit_record(by=by, verb="asked to explain", target=run, workspace=experiment.workspace)
    return artifact.explain_job

"""Trying a wording on a few rows with a real model, before anything is saved. Test rows are never used."""

from collections.abc import Sequence

from django.db import transaction

from experiments.errors import UserError
from experiments.models import Backbone, DatasetVersion, Example, JobKind, Preview, PromptTemplate, Queue, Split, User
from experiments.prompting.wording import PromptWording, wording_problems
from experiments.services.job_queue import job_create
from experiments.services.prompts import BadPrompt, shape_of

MAX_ROWS = 5


def preview_create(
    *,
    dataset_version: DatasetVersion,
    backbone: Backbone,
    by: User | None,
    wording: PromptWording,
    example_ids: Sequence[int],
    template: PromptTemplate | None = None,
) -> Preview:
    """Keep what is to be tried, and queue the job that a worker answers.

    Raises:
        BadPrompt: the wording does not fit the data.
        UserError: no row, too many, a test row, or a model that was refused.
    """
    wording = wording.ordered()
    if problems := wording_problems(wording, shape_of(dataset_version)):
        raise BadPrompt(problems)
    if backbone.problem:
        raise UserError(f"The model {backbone.name} was refused: {backbone.problem}")
    rows = Example.objects.filter(version=dataset_version, pk__in=example_ids, split__in=[Split.TRAIN, Split.VALIDATION])
    if not 0 < len(set(example_ids)) <= MAX_ROWS or rows.count() != len(set(example_ids)):
        raise UserError(f"A prompt is tried on 1 to {MAX_ROWS} train or validation rows of its data. Choose other rows.")
    preview = Preview(
        template=template,
        dataset_version=dataset_version,
        backbone=backbone,
        wording=wording.to_json(),
        examples=list(example_ids),
        created_by=by,
    )
    with transaction.atomic():
        workspace = dataset_version.dataset.workspace
        payload = {"preview": str(preview.pk)}
        preview.job = job_create(workspace=workspace, kind=JobKind.PREVIEW, queue=Queue.INTERACTIVE, payload=payload, by=by)
        preview.save()
    return preview

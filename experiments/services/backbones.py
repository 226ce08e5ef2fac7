"""Models that a workspace may use: named, pinned, and verified by a worker. Knows where a model lies, never opens it."""

import os
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import Backbone, Job, JobKind, Queue, User, Workspace
from experiments.models.backbones import BackboneKind
from experiments.services.audit import audit_record
from experiments.services.job_queue import job_create

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[0-9a-f]{40}")


def backbone_register_local(*, workspace: Workspace, name: str, folder: str, by: User | None, dtype: str = "auto") -> Backbone:
    """Name a folder on the workers' disks, and ask a worker to verify it.

    Raises:
        UserError: the folder is not below one that the operator allows, or the name is taken.
    """
    model = Backbone(workspace=workspace, name=name, kind=BackboneKind.LOCAL, source=_allowed_folder(folder), dtype=dtype)
    return backbone_register(backbone=model, by=by)


def backbone_register_hub(
    *, workspace: Workspace, name: str, repository: str, revision: str, by: User | None, dtype: str = "auto"
) -> Backbone:
    """Name a model of the Hugging Face Hub at one commit, and ask a worker to verify it.

    Raises:
        UserError: the Hub is switched off, the id or revision is malformed, or the name is taken.
    """
    if not settings.HF_HUB_ALLOWED:
        raise UserError("This instance loads no models from the Hugging Face Hub. Its operator can allow it with HF_HUB_ALLOWED=1.")
    if not REPOSITORY.fullmatch(repository):
        raise UserError("A Hub id reads “owner/model”, such as “HuggingFaceTB/SmolLM2-135M”.")
    if not REVISION.fullmatch(revision):
        raise UserError(
            "The revision must be a full commit, 40 characters 0–9 and a–f: branches and tags can move. Copy it from the model's history."
        )
    model = Backbone(workspace=workspace, name=name, kind=BackboneKind.HUB, source=repository, revision=revision, dtype=dtype)
    return backbone_register(backbone=model, by=by)


def backbone_register(*, backbone: Backbone, by: User | None) -> Backbone:
    """Store a model whose place has been checked, and ask a worker to verify it.

    Raises:
        UserError: the name is taken.
    """
    assert backbone.workspace is not None
    backbone.created_by = by
    try:
        with transaction.atomic():
            backbone.save(force_insert=True)
            audit_record(by=by, verb="registered", target=backbone, workspace=backbone.workspace, detail={"source": backbone.source})
            backbone_inspect(backbone=backbone, workspace=backbone.workspace, by=by)
    except IntegrityError as error:
        raise UserError(f"A model with the name “{backbone.name}” exists already. Choose another name.") from error
    backbone.refresh_from_db()
    return backbone


def backbone_inspect(*, backbone: Backbone, workspace: Workspace, by: User | None) -> Job:
    """Ask a worker to look at the model, again if it did before. A question that is still open is not asked twice."""
    with transaction.atomic():
        backbone = Backbone.objects.select_for_update(of=("self",)).select_related("job").get(pk=backbone.pk)
        if backbone.job and not backbone.job.has_ended:
            return backbone.job
        job = job_create(workspace=workspace, kind=JobKind.INSPECT, queue=Queue.INTERACTIVE, payload={"backbone": str(backbone.pk)}, by=by)
        Backbone.objects.filter(pk=backbone.pk).update(job=job, problem="")
        audit_record(by=by, verb="asked to verify", target=backbone, workspace=workspace)
    return job


def backbone_verified(*, backbone: Backbone, facts: dict[str, Any]) -> None:
    """Keep what a worker found. Called in the final commit of an INSPECT job."""
    Backbone.objects.filter(pk=backbone.pk).update(facts=facts, problem="", verified_at=timezone.now())


def _allowed_folder(folder: str) -> str:
    """The folder's real path, if it lies below one of MODEL_FOLDERS; links and `..` are followed before the check."""
    if not settings.MODEL_FOLDERS:
        raise UserError("This instance allows no model folders. Its operator names them in MODEL_FOLDERS.")
    if "\0" in folder or not os.path.isabs(folder):
        raise UserError("Give the folder's full path, such as " + f"{settings.MODEL_FOLDERS[0]}/my-model.")
    real = Path(os.path.realpath(folder))
    roots = [Path(os.path.realpath(root)) for root in settings.MODEL_FOLDERS]
    if not any(real != root and real.is_relative_to(root) for root in roots):
        raise UserError(f"The folder must lie below {' or '.join(map(str, settings.MODEL_FOLDERS))}, where the operator keeps models.")
    return str(real)

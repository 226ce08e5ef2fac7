"""The library: models to build on, tuned prompts to take away."""

from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Prefetch, Q
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from experiments.access import get_artifact_for, get_workspace_for
from experiments.bundles import artifact_zip, artifact_zip_name
from experiments.models import Artifact, Backbone, Evaluation, Score, Split
from experiments.reads.families import family_table
from experiments.views.viewer import require_here, viewer

PAGE = 50


@require_safe
def library(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_workspace_for(viewer(request), slug)
    backbones = Backbone.objects.filter(Q(workspace=workspace) | Q(workspace=None)).select_related("job")
    accuracy = Prefetch("scores", Score.objects.filter(metric="accuracy"), to_attr="accuracy")
    validation = Evaluation.objects.filter(split=Split.VALIDATION, suite="plain", attempt__isnull=False).prefetch_related(accuracy)
    artifacts = (
        Artifact.objects.filter(run__approach__experiment__workspace=workspace, run__approach__experiment__curve_of=None)
        .select_related("run__approach__experiment", "run__approach__backbone")
        .prefetch_related(Prefetch("run__evaluations", validation, to_attr="validation"))
        .defer("manifest", "files")
        .order_by("-created_at", "-pk")
    )
    page = Paginator(artifacts, PAGE).get_page(request.GET.get("page"))
    return render(request, "library.html", {"backbones": backbones, "page": page})


@require_safe
def family_list(request: HttpRequest, slug: str) -> HttpResponse:
    """Which approach runs on which family of models."""
    get_workspace_for(viewer(request), slug)
    return render(request, "family_list.html", family_table())


@require_safe
def artifact_download(request: HttpRequest, slug: str, artifact_id: UUID) -> FileResponse:
    """The PEFT folder as a zip: the files by hash, the manifest and a card."""
    artifact = get_artifact_for(viewer(request), artifact_id)
    require_here(artifact.run.approach.experiment.workspace, slug)
    return FileResponse(artifact_zip(artifact), as_attachment=True, filename=artifact_zip_name(artifact), content_type="application/zip")

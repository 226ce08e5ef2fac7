"""Trying a prompt on a few rows with a real model: the order, its state, its answers."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from experiments.access import get_preview_for, get_prompt_template_for
from experiments.errors import UserError
from experiments.forms.prompts import PromptForm
from experiments.models import Backbone, Preview, PromptTemplate, Queue, Workspace
from experiments.presence import queue_health
from experiments.reads import prompts as reads
from experiments.services.previews import preview_create
from experiments.services.prompts import BadPrompt
from experiments.views.prompts import chosen_version, writable_workspace
from experiments.views.viewer import require_here, viewer


@require_POST
def prompt_try(request: HttpRequest, slug: str) -> HttpResponse:
    """Order a try of the prompt as it stands in the editor. With htmx the answer is its state, else its page."""
    workspace = writable_workspace(request, slug)
    version, backbone = chosen_version(request, workspace), _backbone(request, workspace)
    if version is None or backbone is None:
        return _refused(request, ["A prompt is tried on data with a model. Upload data and choose a model first."])
    wording = PromptForm(request.POST, version=version, is_new=False).wording()
    rows = reads.rows_to_try(version, others=request.POST.get("rows") == "other")
    try:
        preview = preview_create(
            dataset_version=version,
            backbone=backbone,
            by=viewer(request),
            wording=wording,
            example_ids=rows,
            template=_template(request, workspace),
        )
    except UserError as error:
        return _refused(request, error.problems if isinstance(error, BadPrompt) else [str(error)])
    if not request.headers.get("HX-Request"):
        return redirect("preview-detail", slug, preview.pk)
    return render(request, "_preview_state.html", _context(preview))


@require_safe
def preview_detail(request: HttpRequest, slug: str, preview_id: UUID) -> HttpResponse:
    return render(request, "preview_detail.html", _context(_preview(request, slug, preview_id)))


@require_safe
def preview_state(request: HttpRequest, slug: str, preview_id: UUID) -> HttpResponse:
    """The part that is asked for again until the model has answered."""
    return render(request, "_preview_state.html", _context(_preview(request, slug, preview_id)))


def _preview(request: HttpRequest, slug: str, preview_id: UUID) -> Preview:
    preview = get_preview_for(viewer(request), preview_id)
    require_here(preview.dataset_version.dataset.workspace, slug)
    return preview


def _context(preview: Preview) -> dict[str, Any]:
    rows = reads.tried_rows(preview)
    return {
        "preview": preview,
        "rows": rows,
        "num_right": sum(row.is_correct for row in rows),
        "record": preview.result.get("result", {}),
        "health": None if preview.job.has_ended else queue_health(Queue.INTERACTIVE),
    }


def _refused(request: HttpRequest, problems: "tuple[str, ...] | list[str]") -> HttpResponse:
    """htmx swaps only good answers, so a refusal comes as one; the page without script gets it with its own status."""
    by_script = bool(request.headers.get("HX-Request"))
    template = "_prompt_problems.html" if by_script else "preview_refused.html"
    return render(request, template, {"problems": problems}, status=200 if by_script else 422)


def _backbone(request: HttpRequest, workspace: Workspace) -> Backbone | None:
    wanted = request.POST.get("backbone", "")
    return next((backbone for backbone in reads.backbones_for(workspace) if str(backbone.pk) == wanted), None)


def _template(request: HttpRequest, workspace: Workspace) -> PromptTemplate | None:
    wanted = request.POST.get("template")
    if not wanted:
        return None
    try:
        template = get_prompt_template_for(viewer(request), UUID(wanted))
    except ValueError as error:
        raise Http404("There is no such prompt.") from error
    require_here(template.workspace, workspace.slug)
    return template

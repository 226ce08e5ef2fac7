"""Models: register one, look at what a worker found in it, ask again."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments.access import WRITE_ROLES, get_backbone_for, get_membership_for, get_workspace_for
from experiments.errors import UserError
from experiments.forms.backbones import BackboneForm
from experiments.forms.endpoints import EndpointForm
from experiments.models import Backbone, EndpointKey, Queue
from experiments.presence import queue_health
from experiments.services.backbones import backbone_inspect
from experiments.views.viewer import require_here, viewer


@require_http_methods(["GET", "HEAD", "POST"])
def backbone_create(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_membership_for(viewer(request), slug, needs=WRITE_ROLES[Backbone]).workspace
    form = BackboneForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("backbone-detail", slug, form.register(workspace, viewer(request)).pk)
        except UserError as error:
            form.add_error(None, str(error))
    return render(request, "backbone_create.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def backbone_edit(request: HttpRequest, slug: str, backbone_id: UUID) -> HttpResponse:
    """Change a hosted model. What runs on the workers is pinned and has no such page."""
    get_membership_for(viewer(request), slug, needs=WRITE_ROLES[Backbone])
    backbone = _backbone_at(request, slug, backbone_id)
    if not backbone.is_hosted:
        raise Http404("Only a hosted model can be changed.")
    form = EndpointForm(request.POST or None, backbone=backbone)
    if request.method == "POST" and form.is_valid():
        try:
            if form.change(backbone, viewer(request)):
                messages.info(request, "The key was thrown away. Enter the one of the new address, if it needs one.")
            return redirect("backbone-detail", slug, backbone.pk)
        except UserError as error:
            form.add_error(None, str(error))
    return render(request, "backbone_edit.html", {"form": form, "backbone": backbone}, status=422 if form.errors else 200)


@require_safe
def backbone_detail(request: HttpRequest, slug: str, backbone_id: UUID) -> HttpResponse:
    return render(request, "backbone_detail.html", _context(request, slug, backbone_id))


@require_safe
def backbone_state(request: HttpRequest, slug: str, backbone_id: UUID) -> HttpResponse:
    """The part of the page that is asked for again until a worker has answered."""
    return render(request, "_backbone_state.html", _context(request, slug, backbone_id))


@require_POST
def backbone_verify(request: HttpRequest, slug: str, backbone_id: UUID) -> HttpResponse:
    workspace = get_membership_for(viewer(request), slug, needs=WRITE_ROLES[Backbone]).workspace
    backbone = _backbone_at(request, slug, backbone_id)
    backbone_inspect(backbone=backbone, workspace=workspace, by=viewer(request))
    return redirect("backbone-detail", slug, backbone.pk)


def _backbone_at(request: HttpRequest, slug: str, backbone_id: UUID) -> Backbone:
    """A shared model has a page in every workspace, a team's own only in its own."""
    backbone = get_backbone_for(viewer(request), backbone_id)
    require_here(backbone.workspace or get_workspace_for(viewer(request), slug), slug)
    return backbone


def _context(request: HttpRequest, slug: str, backbone_id: UUID) -> dict[str, object]:
    backbone = _backbone_at(request, slug, backbone_id)
    key = EndpointKey.objects.filter(backbone=backbone).values_list("set_at", flat=True).first() if backbone.is_hosted else None
    waits = backbone.job is not None and not backbone.job.has_ended
    return {
        "backbone": backbone,
        "waits": waits,
        "health": queue_health(Queue.INTERACTIVE) if waits else None,
        "slug": slug,
        "key_set_at": key,
    }

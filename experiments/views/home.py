"""The way in: the first page after signing in, and the overview of a workspace."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from experiments.access import get_workspace_for
from experiments.models import Workspace
from experiments.reads.overview import overview_of
from experiments.views.viewer import viewer


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    first = Workspace.objects.filter(memberships__user=viewer(request)).order_by("memberships__created_at").first()
    if first is None:
        return render(request, "workspace_none.html")
    return redirect("workspace-overview", first.slug)


@require_safe
def workspace_overview(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_workspace_for(viewer(request), slug)
    return render(request, "workspace_overview.html", {"overview": overview_of(workspace)})


@require_safe
def workspace_activity(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the overview that is asked for again while work is in progress."""
    workspace = get_workspace_for(viewer(request), slug)
    return render(request, "_workspace_activity.html", {"overview": overview_of(workspace), "workspace": workspace})

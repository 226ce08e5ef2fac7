"""Keys for programs: the list, a new key shown once, revoking. Owners only."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from experiments.access import get_api_key_for, get_workspace_for
from experiments.forms.accounts import KeyForm
from experiments.models import ApiKey, Workspace
from experiments.services.keys import api_key_create as create
from experiments.services.keys import api_key_revoke as revoke
from experiments.views.viewer import require_here, viewer


@require_safe
def api_key_list(request: HttpRequest, slug: str) -> HttpResponse:
    return _keys_page(request, get_workspace_for(viewer(request), slug, write=True), KeyForm())


@require_POST
def api_key_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Make a key. Its clear text stands in this answer only, so there is no redirect that would have to carry it."""
    workspace = get_workspace_for(viewer(request), slug, write=True)
    form = KeyForm(request.POST)
    if not form.is_valid():
        return _keys_page(request, workspace, form)
    key, clear = create(workspace=workspace, by=viewer(request), **form.cleaned_data)
    return _keys_page(request, workspace, KeyForm(), key=key, clear=clear)


@require_POST
def api_key_revoke(request: HttpRequest, slug: str, key_id: UUID) -> HttpResponse:
    key = get_api_key_for(viewer(request), key_id, write=True)
    require_here(key.workspace, slug)
    revoke(key=key, by=viewer(request))
    messages.success(request, f"The key “{key.name}” is revoked; programs that send it are refused from now on.")
    return redirect("api-key-list", slug)


def _keys_page(request: HttpRequest, workspace: Workspace, form: KeyForm, *, key: ApiKey | None = None, clear: str = "") -> HttpResponse:
    context = {
        "keys": workspace.api_keys.select_related("created_by").order_by("revoked_at", "-created_at"),
        "form": form,
        "new_key": key,
        "clear": clear,
    }
    return render(request, "api_key_list.html", context, status=422 if form.errors else 200)

"""A new workspace, and the settings of one: its name, members, invitations, shared links and audit trail. Owners change, members read."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments.access import get_invitation_for, get_member_for, get_workspace_for, require_workspace_maker
from experiments.errors import UserError
from experiments.forms.accounts import InvitationForm, NewWorkspaceForm, RoleForm, WorkspaceForm
from experiments.models import AuditEntry, Membership, Role, Share, Workspace
from experiments.reads.audit import audit_line
from experiments.services import accounts, invitations
from experiments.services.reports import shares_enabled
from experiments.views.viewer import posted, require_here, viewer

PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
def workspace_create(request: HttpRequest) -> HttpResponse:
    """An empty workspace that the person owns."""
    require_workspace_maker(viewer(request))
    form = NewWorkspaceForm(posted(request), maker=viewer(request))
    if request.method == "POST" and form.is_valid():
        made = accounts.workspace_create(name=form.cleaned_data["name"], by=viewer(request))
        messages.success(request, f"“{made.name}” is yours, and empty. Under Settings you invite people to it.")
        return redirect("workspace-overview", made.slug)
    return render(request, "workspace_create.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def workspace_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """The name, the members and the open invitations; a POST renames."""
    workspace = get_workspace_for(viewer(request), slug, write=request.method == "POST")
    form = WorkspaceForm(request.POST or None, initial={"name": workspace.name})
    if request.method == "POST" and form.is_valid():
        accounts.workspace_rename(workspace=workspace, name=form.cleaned_data["name"], by=viewer(request))
        messages.success(request, "The workspace has its new name. Its address stays the same.")
        return redirect("workspace-settings", slug)
    return _settings_page(request, workspace, name_form=form)


@require_POST
def member_invite(request: HttpRequest, slug: str) -> HttpResponse:
    """Make an invitation. Its link is shown in this answer only."""
    workspace = get_workspace_for(viewer(request), slug, write=True)
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _settings_page(request, workspace, invite_form=form)
    try:
        _, token = invitations.invitation_create(workspace=workspace, by=viewer(request), **form.cleaned_data)
    except UserError as error:
        form.add_error("email", str(error))
        return _settings_page(request, workspace, invite_form=form)
    link = request.build_absolute_uri(reverse("invitation-accept", args=[token]))
    return _settings_page(request, workspace, link=link, invited=form.cleaned_data["email"])


@require_POST
def invitation_withdraw(request: HttpRequest, slug: str, invitation_id: UUID) -> HttpResponse:
    invitation = get_invitation_for(viewer(request), invitation_id, write=True)
    require_here(invitation.workspace, slug)
    invitations.invitation_withdraw(invitation=invitation, by=viewer(request))
    messages.success(request, f"The invitation of {invitation.email} is withdrawn; its link no longer works.")
    return redirect("workspace-settings", slug)


@require_POST
def member_role(request: HttpRequest, slug: str, membership_id: int) -> HttpResponse:
    membership = _member_at(request, slug, membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles in the list.")
        return redirect("workspace-settings", slug)
    try:
        accounts.membership_change_role(membership=membership, role=form.cleaned_data["role"], by=viewer(request))
        messages.success(request, f"{membership.user} is {membership.get_role_display().lower()} now.")
    except UserError as error:
        messages.error(request, str(error))
    return redirect("workspace-settings", slug)


@require_POST
def member_remove(request: HttpRequest, slug: str, membership_id: int) -> HttpResponse:
    membership = _member_at(request, slug, membership_id)
    try:
        accounts.membership_remove(membership=membership, by=viewer(request))
        messages.success(request, f"{membership.user} is no longer a member. What they made stays.")
    except UserError as error:
        messages.error(request, str(error))
    return redirect("workspace-settings", slug)


@require_safe
def share_list(request: HttpRequest, slug: str) -> HttpResponse:
    """Every link of the workspace that opens now, and the last ones that ended."""
    workspace = get_workspace_for(viewer(request), slug)
    shares = Share.objects.filter(report__workspace=workspace).select_related("report__experiment", "created_by")
    live = shares.filter(revoked_at=None, expires_at__gt=timezone.now())
    ended = shares.exclude(pk__in=live.values("pk"))
    return render(request, "share_list.html", {"live": live, "ended": ended[:PAGE], "links_open": shares_enabled()})


@require_safe
def audit_list(request: HttpRequest, slug: str) -> HttpResponse:
    """The trail, newest first, a page at a time by the number of its last entry."""
    workspace = get_workspace_for(viewer(request), slug, write=True)
    entries = AuditEntry.objects.filter(workspace=workspace).order_by("-id")
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit():
        entries = entries.filter(pk__lt=int(before[:18]))
    shown = list(entries[: PAGE + 1])
    older = shown[PAGE - 1].pk if len(shown) > PAGE else None
    lines = [audit_line(entry) for entry in shown[:PAGE]]
    return render(request, "audit_list.html", {"lines": lines, "older": older, "is_first": not before})


def _member_at(request: HttpRequest, slug: str, membership_id: int) -> Membership:
    membership = get_member_for(viewer(request), membership_id, write=True)
    require_here(membership.workspace, slug)
    return membership


def _settings_page(
    request: HttpRequest,
    workspace: Workspace,
    *,
    name_form: WorkspaceForm | None = None,
    invite_form: InvitationForm | None = None,
    link: str = "",
    invited: str = "",
) -> HttpResponse:
    refused = any(form is not None and form.errors for form in (name_form, invite_form))
    members = list(workspace.memberships.select_related("user").order_by("created_at"))
    owners = [member.pk for member in members if member.role == Role.OWNER]
    context = {
        "members": members,
        "sole_owner": owners[0] if len(owners) == 1 else None,
        "invitations": workspace.invitations.filter(accepted_at=None).select_related("created_by"),
        "roles": Role.choices,
        "name_form": name_form or WorkspaceForm(initial={"name": workspace.name}),
        "invite_form": invite_form or InvitationForm(),
        "link": link,
        "invited": invited,
        "now": timezone.now(),
    }
    return render(request, "workspace_settings.html", context, status=422 if refused else 200)

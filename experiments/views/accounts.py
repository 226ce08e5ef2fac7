"""Coming in: one-time sign-in links and invitations. The only pages besides allauth's that a signed-out person may open."""

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from experiments import throttle
from experiments.errors import UserError
from experiments.forms.accounts import JoinForm
from experiments.models import Invitation, User
from experiments.services import accounts, invitations

BACKEND = "django.contrib.auth.backends.ModelBackend"
TRIES_PER_MINUTE = 20


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """A GET changes nothing, because mail scanners and previews follow links; the button signs in."""
    if request.method != "POST":
        return render(request, "account_sign_in.html", {"token": request.GET.get("token", "")})
    if not throttle.may_try(throttle.client_address(request), action="sign-in", limit=TRIES_PER_MINUTE, seconds=60):
        return render(request, "429.html", status=429)
    user = accounts.sign_in_token_spend(request.POST.get("token", ""))
    if user is None:
        return render(request, "account_sign_in.html", {"refused": True}, status=403)
    login(request, user, backend=BACKEND)
    return redirect(settings.LOGIN_REDIRECT_URL)


@login_not_required
def account_closed(request: HttpRequest) -> HttpResponse:
    """A page of the sign-in library that this product does not use."""
    raise Http404("There is no such page.")


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def invitation_accept(request: HttpRequest, token: str) -> HttpResponse:
    """Join a workspace: with one button when signed in, with a new account when the email has none."""
    invitation = _open_invitation(token)
    if request.method != "POST":
        return _invitation_page(request, invitation, JoinForm())
    if isinstance(request.user, User):
        return _join_with_account(request, invitation, request.user)
    return _join_as_new(request, invitation)


def _open_invitation(token: str) -> Invitation:
    """Unknown, expired, withdrawn and used are one answer. A token has 256 bits, so guessing needs no further brake."""
    invitation = invitations.invitation_find(token)
    if invitation is None:
        raise Http404("This invitation does not exist or has ended. Ask an owner of the workspace for a new one.")
    return invitation


def _invitation_page(request: HttpRequest, invitation: Invitation, form: JoinForm, problem: str = "") -> HttpResponse:
    context = {
        "invitation": invitation,
        "form": form,
        "problem": problem,
        "has_account": User.objects.filter(email__iexact=invitation.email).exists(),
    }
    return render(request, "invitation_accept.html", context, status=422 if problem or form.errors else 200)


def _join_with_account(request: HttpRequest, invitation: Invitation, user: User) -> HttpResponse:
    try:
        invitations.invitation_accept(invitation=invitation, user=user)
    except UserError as error:
        return _invitation_page(request, invitation, JoinForm(), problem=str(error))
    return redirect("workspace-overview", slug=invitation.workspace.slug)


def _join_as_new(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    form = JoinForm(request.POST)
    if not form.is_valid():
        return _invitation_page(request, invitation, form)
    try:
        user = invitations.invitation_accept_as_new(invitation=invitation, **form.cleaned_data)
    except UserError as error:
        return _invitation_page(request, invitation, form, problem=str(error))
    login(request, user, backend=BACKEND)
    return redirect("workspace-overview", slug=invitation.workspace.slug)

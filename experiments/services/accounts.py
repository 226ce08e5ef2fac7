"""People and their workspaces: accounts, members, roles and sign-in links. Knows nothing of data, prompts or runs."""

import secrets

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify
from sesame.utils import get_query_string, get_user

from experiments.errors import UserError
from experiments.models import Backbone, Membership, Role, User, Workspace
from experiments.models.backbones import BackboneKind
from experiments.services.audit import audit_record
from experiments.services.backbones import backbone_inspect

__all__ = [
    "audit_record",
    "membership_change_role",
    "membership_remove",
    "owner_create",
    "sign_in_token_spend",
    "sign_in_url",
    "user_create",
    "workspace_create",
    "workspace_rename",
]

STARTER_NAME = "PromptLab starter"
RESERVED_SLUGS = {"new"}  # addresses below /w/ that are not workspaces


class LastOwner(UserError):
    """The change would leave a workspace that nobody may administer."""

    def __init__(self) -> None:
        super().__init__("A workspace needs at least one owner. Make another member an owner first.")


def user_create(*, email: str, password: str | None, name: str = "") -> User:
    """Make an account; without a password only a sign-in link opens it.

    Raises:
        UserError: the email is taken or malformed, or the password is too weak.
    """
    try:
        if password is not None:
            validate_password(password, User(email=email, name=name))
        return User.objects.create_user(email, password, name=name)
    except ValidationError as error:
        raise UserError(" ".join(error.messages)) from error


def owner_create(*, email: str, password: str, workspace_name: str) -> tuple[User, Workspace]:
    """The first person of an instance: an account that owns a workspace. An existing account keeps its password.

    Calling it twice changes nothing the second time.
    """
    with transaction.atomic():
        user = User.objects.filter(email__iexact=email).first() or user_create(email=email, password=password)
        return user, _workspace_first_called(workspace_name, user) or workspace_create(name=workspace_name, by=user)


def _workspace_first_called(name: str, user: User) -> Workspace | None:
    """A person's workspace that was made under this name, whatever it is called now: the slug has stayed."""
    theirs = Workspace.objects.filter(memberships__user=user)
    slug = slugify(name)[:50]
    found = theirs.filter(slug__regex=rf"^{slug}(-[0-9a-f]{{8}})?$").order_by("slug").first() if slug else None
    return found or theirs.filter(name=name).first()


def workspace_create(*, name: str, by: User, slug: str = "") -> Workspace:
    """Make a workspace that `by` owns, with the bundled starter model to begin on."""
    with transaction.atomic():
        workspace = Workspace.objects.create(name=name, slug=slug or _free_slug(name), created_by=by)
        Membership.objects.create(workspace=workspace, user=by, role=Role.OWNER)
        audit_record(by=by, verb="created", target=workspace, workspace=workspace)
        _starter_ensure(workspace)
    return workspace


def workspace_rename(*, workspace: Workspace, name: str, by: User) -> None:
    """Change the name that people read; the address keeps its slug, so that links stay good."""
    with transaction.atomic():
        detail = {"from": workspace.name, "to": name}
        workspace.name = name
        workspace.save(update_fields=["name"])
        audit_record(by=by, verb="renamed", target=workspace, workspace=workspace, detail=detail)


def membership_change_role(*, membership: Membership, role: Role, by: User) -> None:
    """Give a member another role.

    Raises:
        LastOwner: nobody would own the workspace.
    """
    with transaction.atomic():
        _keep_an_owner(membership, new_role=role)
        detail = {"from": membership.role, "to": role.value}
        membership.role = role
        membership.save(update_fields=["role"])
        audit_record(by=by, verb="changed the role of", target=membership.user, workspace=membership.workspace, detail=detail)


def membership_remove(*, membership: Membership, by: User) -> None:
    """Take a member out of the workspace. What the person made stays, and so do the workspace's API keys.

    Raises:
        LastOwner: nobody would own the workspace.
    """
    with transaction.atomic():
        _keep_an_owner(membership, new_role=None)
        membership.delete()
        audit_record(by=by, verb="removed", target=membership.user, workspace=membership.workspace)


def sign_in_url(user: User) -> str:
    """The path of a one-time sign-in link, good for 15 minutes. Opening it changes nothing; its button signs in."""
    return reverse("sign-in") + str(get_query_string(user))


def sign_in_token_spend(token: str) -> User | None:
    """The user of a good sign-in token, which is used up by this call; None for every other token."""
    user = get_user(token, update_last_login=False)
    if user is None:
        return None
    # The token holds only while `last_login` stands still, so one conditional update lets exactly one of two clicks in.
    spent = User.objects.filter(pk=user.pk, last_login=user.last_login).update(last_login=timezone.now())
    return user if spent == 1 else None


def _keep_an_owner(membership: Membership, *, new_role: Role | None) -> None:
    # Locking the workspace keeps two owners from removing each other at the same moment.
    Workspace.objects.select_for_update().get(pk=membership.workspace_id)
    others = Membership.objects.filter(workspace_id=membership.workspace_id, role=Role.OWNER).exclude(pk=membership.pk)
    if membership.role == Role.OWNER and new_role != Role.OWNER and not others.exists():
        raise LastOwner


def _starter_ensure(workspace: Workspace) -> None:
    """The bundled model is one row that every workspace sees; the first one has a worker verify it, so that its facts are known."""
    starter = Backbone.objects.filter(workspace=None, kind=BackboneKind.BUNDLED).first()
    if starter is None:
        starter, _ = Backbone.objects.get_or_create(workspace=None, name=STARTER_NAME, defaults={"kind": BackboneKind.BUNDLED})
    if starter.verified_at is None:
        backbone_inspect(backbone=starter, workspace=workspace, by=None)


def _free_slug(name: str) -> str:
    base = slugify(name)[:50] or "workspace"
    if base not in RESERVED_SLUGS and not Workspace.objects.filter(slug=base).exists():
        return base
    return f"{base}-{secrets.token_hex(4)}"

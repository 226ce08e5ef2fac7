"""Offers to join a workspace: links with a token of which only the hash is kept. Knows nothing of requests or mail."""

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import Invitation, Membership, Role, User, Workspace
from experiments.services.accounts import user_create
from experiments.services.audit import audit_record

LIFETIME = timedelta(days=7)


def invitation_create(*, workspace: Workspace, email: str, role: Role, by: User) -> tuple[Invitation, str]:
    """Offer a place. Returns the row and the token of its link, which is shown once. An older open offer to the email ends.

    Raises:
        UserError: the person is a member already.
    """
    if Membership.objects.filter(workspace=workspace, user__email__iexact=email).exists():
        raise UserError(f"{email} is a member already. Change the role in the list of members instead.")
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        Invitation.objects.filter(workspace=workspace, email__iexact=email, accepted_at=None).delete()
        invitation = Invitation.objects.create(
            workspace=workspace,
            email=email,
            role=role,
            token_sha256=_digest(token),
            created_by=by,
            expires_at=timezone.now() + LIFETIME,
        )
        audit_record(by=by, verb="made", target=invitation, workspace=workspace, detail={"role": invitation.role})
    return invitation, token


def invitation_find(token: str) -> Invitation | None:
    """The open offer behind a token; None when it is unknown, expired, withdrawn or accepted."""
    return (
        Invitation.objects.select_related("workspace", "created_by")
        .filter(token_sha256=_digest(token), accepted_at=None, expires_at__gt=timezone.now())
        .first()
    )


def invitation_withdraw(*, invitation: Invitation, by: User) -> None:
    """End an open offer; its link stops working at once."""
    with transaction.atomic():
        audit_record(by=by, verb="withdrew", target=invitation, workspace=invitation.workspace)
        invitation.delete()


def invitation_accept(*, invitation: Invitation, user: User) -> Membership:
    """Join with an existing account. An offer holds once, and only for the email that it was made to.

    Raises:
        UserError: the account has another email, or the offer was taken in the meantime.
    """
    if user.email.lower() != invitation.email.lower():
        raise UserError(f"This invitation is for {invitation.email}. Sign out, then open the link again with that account.")
    with transaction.atomic():
        if not Invitation.objects.filter(pk=invitation.pk, accepted_at=None).update(accepted_at=timezone.now()):
            raise UserError("This invitation has been used already. Ask an owner of the workspace for a new one.")
        membership, _ = Membership.objects.get_or_create(workspace=invitation.workspace, user=user, defaults={"role": invitation.role})
        audit_record(by=user, verb="joined", target=invitation.workspace, workspace=invitation.workspace, detail={"role": membership.role})
    return membership


def invitation_accept_as_new(*, invitation: Invitation, name: str, password: str) -> User:
    """Make the account that an offer is for, and join with it.

    Raises:
        UserError: the email has an account already, the password is too weak, or the offer was taken in the meantime.
    """
    with transaction.atomic():
        user = user_create(email=invitation.email, password=password, name=name)
        invitation_accept(invitation=invitation, user=user)
    return user


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()

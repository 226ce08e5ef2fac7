"""Workspace keys for programs: made, found by hash, revoked. Knows nothing of requests; the clear key exists only at its making."""

import hashlib
import secrets

from django.db import transaction
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import ApiKey, Role, User, Workspace
from experiments.services.audit import audit_record

PREFIX = "plk_"
SHOWN_LENGTH = 12  # of the key: enough to tell keys apart, useless to a thief
KEY_ROLES = [Role.VIEWER, Role.DOMAIN_EXPERT, Role.ML_ENGINEER]  # owners' powers (members, keys) have no API


def api_key_create(*, workspace: Workspace, name: str, role: Role, by: User) -> tuple[ApiKey, str]:
    """Make a key. Returns the row and the clear key, which is shown once and kept nowhere.

    Raises:
        UserError: the role is one that no key may hold.
    """
    if role not in KEY_ROLES:
        raise UserError(f"A key cannot hold the role “{Role(role).label}”. Choose {', '.join(r.label for r in KEY_ROLES)}.")
    clear = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        key = ApiKey.objects.create(
            workspace=workspace, name=name, role=role, prefix=clear[:SHOWN_LENGTH], key_sha256=_digest(clear), created_by=by
        )
        audit_record(by=by, verb="created", target=key, workspace=workspace, detail={"role": key.role})
    return key, clear


def api_key_find(clear: str) -> ApiKey | None:
    """The live key behind a clear one, or None. Notes the day of use."""
    key = ApiKey.objects.select_related("workspace", "created_by").filter(key_sha256=_digest(clear), revoked_at=None).first()
    if key is not None and key.last_used_on != timezone.now().date():
        ApiKey.objects.filter(pk=key.pk).update(last_used_on=timezone.now().date())
    return key


def api_key_revoke(*, key: ApiKey, by: User) -> None:
    """End a key at once and for good. Revoking it twice changes nothing."""
    with transaction.atomic():
        if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit_record(by=by, verb="revoked", target=key, workspace=key.workspace)


def _digest(clear: str) -> str:
    return hashlib.sha256(clear.encode("utf-8", "surrogateescape")).hexdigest()

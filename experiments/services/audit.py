"""The audit trail: one row for every change that a person or a key makes. Knows no noun by name and never edits a row."""

from typing import Any

import structlog
from django.db.models import Model

from experiments.models import AuditEntry, User, Workspace

KEY_CONTEXT = "api_key"  # bound to the log context by the API's authentication, cleared with it at the end of the request
SYSTEM = "PromptLab"


def audit_record(
    *, by: User | None, verb: str, target: Model, workspace: Workspace | None, detail: dict[str, Any] | None = None
) -> AuditEntry:
    """Write down who did what, in the transaction of the change itself.

    Args:
        by: who acted; None for the system and its command line.
        verb: past tense, such as "launched".
        target: the noun that changed; its name is kept, because the noun may go.
        detail: small JSON facts; never data rows, tokens or keys.
    """
    return AuditEntry.objects.create(
        workspace=workspace,
        actor=by,
        actor_label=_actor_label(by),
        verb=verb,
        target_kind=str(target._meta.verbose_name),
        target_id=str(target.pk),
        target_name=str(target)[:200],
        detail=detail or {},
    )


def _actor_label(by: User | None) -> str:
    key: str | None = structlog.contextvars.get_contextvars().get(KEY_CONTEXT)
    if key:
        return f"API key {key}"[:254]
    return by.email if by else SYSTEM

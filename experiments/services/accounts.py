"""People and their workspaces: members, invitations, keys and sign-in links. Knows nothing of data, prompts or runs."""

from experiments.services.audit import audit_record

__all__ = ["audit_record"]

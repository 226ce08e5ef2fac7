"""The audit trail in the words of the pages. Rows keep the words of the code; no row is ever rewritten for the sake of a sentence."""

from dataclasses import dataclass

from experiments.models import AuditEntry, Role

# What the code calls a noun, and how a person says it.
KINDS = {
    "artifact": "the tuned prompt",
    "api key": "the API key",
    "backbone": "the model",
    "dataset": "the data",
    "dataset version": "the data version",
    "experiment": "the comparison",
    "invitation": "the invitation of",
    "job": "the job",
    "price book": "the prices",
    "prompt template": "the prompt",
    "report": "the report",
    "share": "the link",
    "template version": "the prompt version",
    "user": "the member",
    "workspace": "the workspace",
}
# Where verb and noun do not simply follow one another.
SENTENCES = {
    ("made", "invitation"): "invited",
    ("joined", "workspace"): "joined",
    ("withdrew", "invitation"): "withdrew the invitation of",
    ("made", "share"): "made the link",
    ("changed the role of", "user"): "changed the role of",
    ("removed", "user"): "removed the member",
    ("cancelled", "job"): "stopped the job",
    ("promoted", "template version"): "made it the production version:",
    ("described", "dataset"): "renamed or described the data",
    ("described", "prompt template"): "renamed or described the prompt",
}
ROLES = dict(Role.choices)


@dataclass(frozen=True)
class AuditLine:
    """One entry: what was done, the name of what it was done to, and its small facts as (name, value)."""

    entry: AuditEntry
    did: str
    name: str
    facts: tuple[tuple[str, str], ...]


def audit_line(entry: AuditEntry) -> AuditLine:
    """An entry as a person reads it: "made the report", "invited"."""
    kind = entry.target_kind.lower()
    did = SENTENCES.get((entry.verb, kind)) or f"{entry.verb} {KINDS.get(kind, 'the ' + kind)}"
    facts = tuple((name.replace("_", " "), str(ROLES.get(value, value))) for name, value in entry.detail.items())
    # An invitation's own name says where to, which the trail of a workspace need not repeat.
    name = entry.target_name.partition(" invited to ")[0] if kind == "invitation" else entry.target_name
    return AuditLine(entry, did, name, facts)

"""Reports and the links that open them: made, revoked, opened. A report never changes after it was made.

Knows no request. A link's token exists in clear only at its making; the database keeps its SHA-256.
"""

import hashlib
import re
import secrets
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import ComparisonTable, Experiment, Report, Share, Split, User
from experiments.reads.snapshots import snapshot_build, snapshot_digest
from experiments.services.audit import audit_record

log = structlog.get_logger(__name__)

DEFAULT_DAYS = 30
MAX_DAYS = 365
TOKEN_BYTES = 32
NUM_SHOWN = 6  # characters of a token that its list shows: 36 of 256 bits, which leave a guesser with nothing
MAX_NAME = 80
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # 32 bytes, URL-safe


def shares_enabled() -> bool:
    """Whether the operator lets people make and open links."""
    return bool(settings.SHARE_LINKS)


def report_table(experiment: Experiment, split: str = "") -> ComparisonTable:
    """The table that a report is made of: the asked split, else the test rows' once there is one.

    Raises:
        UserError: nothing has been computed yet.
    """
    tables = {table.split: table for table in experiment.tables.all()}
    table = tables.get(split) or tables.get(Split.TEST) or tables.get(Split.VALIDATION)
    if table is None:
        raise UserError("There are no results to report yet. Wait until the runs have ended.")
    return table


def report_create(
    *,
    experiment: Experiment,
    by: User | None,
    title: str = "",
    split: str = "",
    includes_prompts: bool = False,
    includes_examples: bool = False,
) -> Report:
    """Freeze the comparison as it stands now.

    Args:
        title: empty takes the comparison's name.
        split: empty takes the test rows once they are open, else the validation rows.
    Raises:
        UserError: nothing has been computed yet.
    """
    table, title = report_table(experiment, split), title or experiment.name
    payload = snapshot_build(
        experiment,
        table.payload,
        title=title,
        now=timezone.now(),
        includes_prompts=includes_prompts,
        includes_examples=includes_examples,
    )
    with transaction.atomic():
        report = Report.objects.create(
            workspace=experiment.workspace,
            experiment=experiment,
            title=title[:160],
            payload=payload,
            payload_sha256=snapshot_digest(payload),
            includes_prompts=includes_prompts,
            includes_examples=includes_examples,
            created_by=by,
        )
        audit_record(by=by, verb="made", target=report, workspace=experiment.workspace, detail={"split": table.split})
    return report


def share_create(*, report: Report, by: User | None, days: int = DEFAULT_DAYS, name: str = "") -> tuple[Share, str]:
    """Make a link. Returns the row and the token, which is shown once and kept nowhere.

    Args:
        name: for whom the link is, so that a person finds it again in the list.
    Raises:
        UserError: links are switched off, or the expiry is out of range.
    """
    if not shares_enabled():
        raise UserError("Whoever runs this installation has switched shared links off.")
    if not 1 <= days <= MAX_DAYS:
        raise UserError(f"A link ends after 1 to {MAX_DAYS} days; {days} is out of that range.")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with transaction.atomic():
        share = Share.objects.create(
            report=report,
            token_sha256=token_digest(token),
            name=" ".join(name.split())[:MAX_NAME],
            ending=token[-NUM_SHOWN:],
            created_by=by,
            expires_at=timezone.now() + timedelta(days=days),
        )
        audit_record(by=by, verb="made", target=share, workspace=report.workspace, detail={"report": report.title, "days": days})
    return share, token


def share_revoke(*, share: Share, by: User | None) -> None:
    """End a link at once and for good. Revoking it twice changes nothing."""
    with transaction.atomic():
        if Share.objects.filter(pk=share.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit_record(by=by, verb="revoked", target=share, workspace=share.report.workspace, detail={"report": share.report.title})


def share_find(token: str) -> Share | None:
    """The live link behind a token, with its report; None for every other token, whatever is wrong with it.

    A malformed token takes the same way through the database as an unknown one.
    """
    share = (
        Share.objects.select_related("report")
        .only("id", "token_sha256", "report__title", "report__payload", "report__includes_prompts", "report__includes_examples")
        .filter(token_sha256=token_digest(token), revoked_at=None, expires_at__gt=timezone.now())
        .first()
    )
    return share if share and TOKEN.fullmatch(token) and shares_enabled() else None


def share_note_opened(*, share: Share) -> None:
    """Count an opening and keep its day, nothing about the visitor."""
    Share.objects.filter(pk=share.pk).update(num_opened=F("num_opened") + 1, last_opened_on=timezone.now().date())
    log.info("share_opened", share=share.token_sha256[:6])


def token_digest(token: str) -> str:
    """What is kept of a token. A path of many megabytes is cut first: no token is that long."""
    return hashlib.sha256(token[:200].encode("utf-8", "surrogateescape")).hexdigest()

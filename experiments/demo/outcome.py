"""What there is to tell about the demonstration while it runs and when it has ended. Reads rows; makes the report once per start."""

import structlog
from django.db import Error, close_old_connections
from django.db.models import Q, QuerySet
from django.urls import reverse

from experiments.errors import UserError
from experiments.models import Experiment, Job, JobState, Report, Split, User
from experiments.reads.live import compare_problem
from experiments.services.reports import report_create, share_create, shares_enabled

log = structlog.get_logger(__name__)

RUNNING = [JobState.QUEUED, JobState.RUNNING]
UNHAPPY = [JobState.FAILED, JobState.QUARANTINED]


def demonstration_url(experiment: Experiment) -> str:
    """The path of the comparison's page."""
    return reverse("comparison-detail", args=[experiment.workspace.slug, experiment.pk])


def demonstration_outcome(experiment: Experiment, by: User, base_url: str) -> str | None:
    """The closing line with a new report link, or the cause of failure; None while it goes on.

    Raises nothing that the database or a service says: whoever asks keeps the product running, and asks again.
    """
    try:
        return _outcome(experiment, by, base_url)
    except Experiment.DoesNotExist:
        return "Demonstration failed: it was deleted."
    except UserError as error:
        return f"Demonstration failed: {error}"
    except Error as error:
        log.warning("demonstration_not_read", error=str(error))
        close_old_connections()  # a connection that the server dropped would fail again each time
        return None


def _outcome(experiment: Experiment, by: User, base_url: str) -> str | None:
    experiment.refresh_from_db()
    jobs = _jobs(experiment)
    if jobs.filter(state__in=RUNNING).exists():
        return None
    if failed := jobs.filter(state__in=UNHAPPY).first():
        return f"Demonstration failed: {failed.error or failed.get_state_display()}"
    if not experiment.finished_at or not experiment.launched_at:
        return None
    if problem := compare_problem(experiment):
        return f"Demonstration failed: {problem}"
    # It opens its test set by itself, unless a person has stopped it before.
    if not experiment.tables.filter(split=Split.TEST).exists():
        return "Demonstration failed: it was stopped."
    seconds = (experiment.finished_at - experiment.launched_at).total_seconds()
    report = experiment.reports.first() or report_create(experiment=experiment, by=by)
    return f"Demonstration finished in {seconds:.0f} s: {base_url}{_report_url(report, by)}"


def _jobs(experiment: Experiment) -> "QuerySet[Job]":
    """What its results rest on: runs and their test evaluations, not what somebody asked of a run afterwards."""
    tests = Q(evaluations__run__approach__experiment=experiment, evaluations__split=Split.TEST)
    return Job.objects.filter(Q(run__approach__experiment=experiment) | tests).distinct()


def _report_url(report: Report, by: User) -> str:
    """A new link that opens without an account, or the members' own page where such links are switched off."""
    if not shares_enabled():
        return reverse("report-detail", args=[report.workspace.slug, report.pk])
    _, token = share_create(report=report, by=by)
    return reverse("share-open", args=[token])

"""What there is to tell about the demonstration while it runs and when it has ended. Reads rows; makes the report once per start."""

from django.urls import reverse

from experiments.models import Experiment, Job, JobState, User
from experiments.reads.live import compare_problem
from experiments.services.reports import report_create, share_create

RUNNING = [JobState.QUEUED, JobState.RUNNING]


def demonstration_url(experiment: Experiment) -> str:
    """The path of the comparison's page."""
    return reverse("comparison-detail", args=[experiment.workspace.slug, experiment.pk])


def demonstration_outcome(experiment: Experiment, by: User, base_url: str) -> str | None:
    """The closing line with a new report link, or the cause of failure; None while it goes on."""
    experiment.refresh_from_db()
    failed = Job.objects.filter(run__approach__experiment=experiment, state__in=[JobState.FAILED, JobState.QUARANTINED]).first()
    if failed and not _goes_on(experiment):
        return f"Demonstration failed: {failed.error or failed.get_state_display()}"
    if experiment.finished_at and (problem := compare_problem(experiment)):
        return f"Demonstration failed: {problem}"
    if not experiment.finished_at or not experiment.launched_at or not experiment.tables.filter(split="test").exists():
        return None
    seconds = (experiment.finished_at - experiment.launched_at).total_seconds()
    report = experiment.reports.first() or report_create(experiment=experiment, by=by)
    _, token = share_create(report=report, by=by)
    return f"Demonstration finished in {seconds:.0f} s: {base_url}{reverse('share-open', args=[token])}"


def _goes_on(experiment: Experiment) -> bool:
    jobs = Job.objects.filter(state__in=RUNNING)
    return (
        jobs.filter(run__approach__experiment=experiment).exists()
        or jobs.filter(evaluations__run__approach__experiment=experiment).exists()
    )

"""What deleting data, a prompt or a comparison would take along, and what stands in its way. Reads only."""

from dataclasses import dataclass

from django.db.models import Q, QuerySet

from experiments.models import (
    Artifact,
    Dataset,
    Experiment,
    Job,
    JobKind,
    JobState,
    PromptTemplate,
    Report,
    Run,
    Share,
    TestOpening,
)
from experiments.services.experiment_jobs import experiment_jobs
from experiments.wording import counted


@dataclass(frozen=True)
class Removal:
    """What a person must know before deleting.

    Args:
        blockers: comparisons that rest on it and must go first.
        obstacle: another reason why it cannot go now, in a sentence; empty when there is none.
        takes: what goes with it, a sentence each.
        stays: what is remembered all the same.
    """

    blockers: tuple[Experiment, ...]
    obstacle: str
    takes: tuple[str, ...]
    stays: str = "The audit trail keeps its name, who deleted it and when."

    @property
    def is_possible(self) -> bool:
        return not self.blockers and not self.obstacle


def dataset_removal(dataset: Dataset) -> Removal:
    """Data goes with all of its versions, rows and files; comparisons on any version stand in the way."""
    versions = list(dataset.versions.select_related("job").only("split_counts", "job__state", "completed_at"))
    reading = any(version.job and not version.job.has_ended for version in versions)
    rows = sum(version.num_rows for version in versions)
    openings = TestOpening.objects.filter(version__dataset=dataset).count()
    prompts = dataset.prompt_templates.count()
    takes = [f"{counted(len(versions), 'version')} with {counted(rows, 'row')}, and the uploaded files."]
    if prompts:
        takes.append(f"{counted(prompts, 'prompt is', 'prompts are')} written for it: the words stay, without data to try them on.")
    if openings:
        takes.append(f"The count of {counted(openings, 'opening')} of its test rows.")
    blockers = Experiment.objects.filter(dataset_version__dataset=dataset, curve_of=None).select_related("workspace")
    return Removal(
        tuple(blockers), "A file of it is being read. Wait until that has ended, or discard the upload." if reading else "", tuple(takes)
    )


def prompt_removal(template: PromptTemplate) -> Removal:
    """A prompt goes with all of its versions; comparisons that use any of them stand in the way."""
    takes = [f"{counted(template.versions.count(), 'version')}, with the name “production” where one has it."]
    if previews := template.previews.count():
        takes.append(f"{counted(previews, 'try', 'tries')} of it on rows.")
    uses = Q(approaches__template_version__template=template) | Q(approaches__teacher_version__template=template)
    blockers = Experiment.objects.filter(uses, curve_of=None).select_related("workspace").distinct()
    return Removal(tuple(blockers), "", tuple(takes))


def experiment_removal(experiment: Experiment) -> Removal:
    """A comparison goes with its runs, answers, tuned prompts, reports and links. That its test rows were opened stays counted."""
    artifacts = Artifact.objects.filter(run__approach__experiment=experiment).count()
    reports, links = Report.objects.filter(experiment=experiment).count(), Share.objects.filter(report__experiment=experiment).count()
    takes = [f"{counted(Run.objects.filter(approach__experiment=experiment).count(), 'run')} with every answer and figure."]
    if artifacts:
        takes.append(f"{counted(artifacts, 'tuned prompt')} in the library.")
    if reports:
        takes.append(f"{counted(reports, 'report')} and {counted(links, 'link')}; links that were handed out open nothing from then on.")
    curve = Experiment.objects.filter(curve_of=experiment).first()
    if curve:
        takes.append(f"Its learning curve of {counted(Run.objects.filter(approach__experiment=curve).count(), 'run')}.")
    stays = Removal.stays
    if TestOpening.objects.filter(experiment=experiment).exists():
        stays += " That its test rows were opened stays counted on later reports of the data: what was seen is seen."
    started = Q(approaches__start_artifact__run__approach__experiment=experiment)
    taught = Q(approaches__teacher_evaluation__run__approach__experiment=experiment)
    resting = Experiment.objects.filter(started | taught).exclude(pk=experiment.pk).exclude(curve_of=experiment)
    obstacle = _unfinished(experiment)
    if curve and not obstacle and _unfinished(curve):
        obstacle = "Its learning curve is still running. Stop it first."
    return Removal(tuple(resting.distinct()), obstacle, tuple(takes), stays)


def jobs_taken_along(experiment: Experiment) -> QuerySet[Job]:
    """Every job that serves a comparison alone, explanations of its soft prompts included."""
    return experiment_jobs(experiment) | _explanations(experiment)


def _unfinished(experiment: Experiment) -> str:
    """What stands in the way. Latency passes and explanations that only wait do not: nothing is lost with them."""
    waiting_extra = Q(kind__in=[JobKind.LATENCY, JobKind.EXPLAIN], state=JobState.QUEUED)
    going_on = jobs_taken_along(experiment).exclude(state__in=JobState.terminal()).exclude(waiting_extra)
    if going_on.exclude(kind=JobKind.EXPLAIN).exists():
        return "It is still running. Stop it first."
    return "One of its soft prompts is being explained. Wait until that has ended." if going_on.exists() else ""


def _explanations(experiment: Experiment) -> QuerySet[Job]:
    runs = [str(pk) for pk in Run.objects.filter(approach__experiment=experiment).values_list("pk", flat=True)]
    return Job.objects.filter(workspace=experiment.workspace_id, kind=JobKind.EXPLAIN, payload__explain__in=runs)

"""Data, prompts and comparisons are thrown away for good: refused while something rests on them, and written into the trail.

Stored files go when no row refers to them any more. Knows no request.
"""

from collections.abc import Iterable

from django.db import transaction

from experiments.errors import UserError
from experiments.models import Artifact, Dataset, DatasetVersion, Evaluation, Experiment, Job, Prediction, PromptTemplate, User
from experiments.reads.removals import Removal, dataset_removal, experiment_removal, jobs_taken_along, prompt_removal
from experiments.services.audit import audit_record
from experiments.storage import forget_stored
from experiments.wording import listed, quoted


def dataset_delete(*, dataset: Dataset, by: User | None) -> None:
    """Throw data away with every version, row and uploaded file.

    Raises:
        UserError: comparisons rest on it, or a file of it is being read.
    """
    with transaction.atomic():
        dataset = Dataset.objects.select_for_update(of=("self",)).select_related("workspace").get(pk=dataset.pk)
        _check(dataset_removal(dataset))
        pairs = dataset.versions.values_list("source_sha256", "parsed_sha256")
        files = {sha256 for pair in pairs for sha256 in pair if sha256}
        audit_record(by=by, verb="deleted", target=dataset, workspace=dataset.workspace, detail={"versions": dataset.versions.count()})
        dataset.delete()
        transaction.on_commit(lambda: files_forget(files))


def prompt_delete(*, template: PromptTemplate, by: User | None) -> None:
    """Throw a prompt away with every version.

    Raises:
        UserError: comparisons use one of its versions.
    """
    with transaction.atomic():
        template = PromptTemplate.objects.select_for_update(of=("self",)).select_related("workspace").get(pk=template.pk)
        _check(prompt_removal(template))
        audit_record(by=by, verb="deleted", target=template, workspace=template.workspace, detail={"versions": template.versions.count()})
        template.delete()


def experiment_delete(*, experiment: Experiment, by: User | None) -> None:
    """Throw a comparison away with its runs, answers, tuned prompts, reports and links.

    The answers go first, an evaluation at a time: one statement over all of them would keep every other writer of SQLite
    waiting. A deletion that is cut off there is done again by pressing the button again.

    Raises:
        UserError: work on it goes on.
    """
    _check(experiment_removal(experiment))
    for curve in Experiment.objects.filter(curve_of=experiment):
        experiment_delete(experiment=curve, by=by)
    for evaluation in Evaluation.objects.filter(run__approach__experiment=experiment).values_list("pk", flat=True):
        Prediction.objects.filter(evaluation=evaluation).delete()
    with transaction.atomic():
        experiment = Experiment.objects.select_for_update(of=("self",)).select_related("workspace").get(pk=experiment.pk)
        _check(experiment_removal(experiment))
        jobs = list(jobs_taken_along(experiment).values_list("pk", flat=True))
        records = Artifact.objects.filter(run__approach__experiment=experiment).values_list("files", flat=True)
        files = {file["sha256"] for record in records for file in record.values()}
        audit_record(by=by, verb="deleted", target=experiment, workspace=experiment.workspace)
        experiment.delete()
        Job.objects.filter(pk__in=jobs).delete()
        transaction.on_commit(lambda: files_forget(files))


def files_forget(files: Iterable[str]) -> None:
    """Delete stored files unless another row holds the same content."""
    versions = DatasetVersion.objects.all()
    for sha256 in files:
        is_data = versions.filter(source_sha256=sha256).exists() or versions.filter(parsed_sha256=sha256).exists()
        if not is_data and not Artifact.objects.filter(files__icontains=sha256).exists():
            forget_stored(sha256)


def _check(removal: Removal) -> None:
    if removal.obstacle:
        raise UserError(removal.obstacle)
    if removal.blockers:
        names = listed([quoted(experiment.name) for experiment in removal.blockers])
        raise UserError(f"Comparisons rest on it: {names}. Delete them first.")

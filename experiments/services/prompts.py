"""What can happen to prompts: made, saved as a new version, renamed, and given the name `production`.

A version never changes. Saving the same words again gives the version that has them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from experiments.errors import UserError
from experiments.models import Dataset, DatasetVersion, Example, PromptTemplate, Split, TemplateAlias, TemplateVersion, User, Workspace
from experiments.models.datasets import Task
from experiments.prompting.chains import FirstStep, columns_asked
from experiments.prompting.wording import DataShape, PromptWording, wording_problems
from experiments.services.audit import audit_record
from experiments.wording import counted, quoted

PRODUCTION = "production"


class BadPrompt(UserError):
    """The wording cannot be used. `problems` holds a sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problems))


def prompt_create(
    *,
    workspace: Workspace,
    by: User | None,
    name: str,
    wording: PromptWording,
    dataset_version: DatasetVersion | None = None,
    description: str = "",
    note: str = "",
) -> TemplateVersion:
    """A prompt with its first version.

    Args:
        dataset_version: the data that the wording must fit; None checks only what no data could mend.
    Raises:
        BadPrompt: with every problem of the wording.
        UserError: the name is empty, too long or taken.
    """
    with transaction.atomic():
        template = PromptTemplate(workspace=workspace, created_by=by, dataset=dataset_version.dataset if dataset_version else None)
        _describe(template, name=name, description=description)
        audit_record(by=by, verb="created", target=template, workspace=workspace)
        return prompt_version_save(template=template, by=by, wording=wording, dataset_version=dataset_version, note=note)


def prompt_version_save(
    *, template: PromptTemplate, by: User | None, wording: PromptWording, dataset_version: DatasetVersion | None = None, note: str = ""
) -> TemplateVersion:
    """Keep the wording as a new version, or give the newest one back when it says the same.

    Raises:
        BadPrompt: with every problem of the wording.
    """
    wording = wording.ordered()
    _check(wording, dataset_version)
    with transaction.atomic():
        PromptTemplate.objects.select_for_update().get(pk=template.pk)
        newest = template.versions.first()
        if newest and newest.content_sha256 == wording.sha256:
            return newest
        version = TemplateVersion.objects.create(
            template=template,
            number=newest.number + 1 if newest else 1,
            note=note.strip()[:200],
            content_sha256=wording.sha256,
            created_by=by,
            **wording.to_json(),
        )
        if dataset_version and template.dataset_id != dataset_version.dataset_id:
            PromptTemplate.objects.filter(pk=template.pk).update(dataset=dataset_version.dataset)
        audit_record(by=by, verb="saved", target=version, workspace=template.workspace)
    return version


def prompt_update(*, template: PromptTemplate, by: User | None, name: str, description: str) -> None:
    """Rename or describe a prompt; its versions stay.

    Raises:
        UserError: the name is empty, too long or taken.
    """
    with transaction.atomic():
        _describe(template, name=name, description=description)
        audit_record(by=by, verb="described", target=template, workspace=template.workspace)


def prompt_alias_move(*, version: TemplateVersion, by: User | None, name: str = PRODUCTION) -> TemplateAlias:
    """Let an alias point at this version of its prompt."""
    with transaction.atomic():
        alias, _ = TemplateAlias.objects.update_or_create(template=version.template, name=name, defaults={"version": version})
        detail = {"alias": name}
        audit_record(by=by, verb="promoted", target=version, workspace=version.template.workspace, detail=detail)
    return alias


def demonstrations_of(version: DatasetVersion, example_ids: Iterable[int]) -> list[dict[str, Any]]:
    """Train rows as demonstrations, in the order asked for.

    Raises:
        BadPrompt: a row is not a train row of this data.
    """
    wanted = list(dict.fromkeys(example_ids))
    rows = Example.objects.filter(version=version, split=Split.TRAIN).in_bulk(wanted)
    missing = [example_id for example_id in wanted if example_id not in rows]
    if missing:
        gone = counted(len(missing), "example is", "examples are")
        raise BadPrompt([f"{gone} not among the train rows of {version}. Only train rows may stand in a prompt; choose others."])
    return [{"example": pk, "fields": rows[pk].fields, "label": rows[pk].label} for pk in wanted]


def shape_of(version: DatasetVersion) -> DataShape:
    """What a prompt for this data has to fit."""
    label_column = version.mapping.get("label_column")
    labels = version.labels if version.task == Task.CLASSIFICATION else []
    return DataShape(columns=version.columns, hidden=[label_column] if label_column else [], labels=labels)


def wording_of(version: TemplateVersion) -> PromptWording:
    """The stored words of a version."""
    return PromptWording(
        user=version.user,
        system=version.system,
        answer_cue=version.answer_cue,
        answer_words=version.answer_words,
        demonstrations=version.demonstrations,
        first_step=FirstStep.from_json(version.first_step),
    )


def columns_of(version: TemplateVersion) -> set[str]:
    """The columns that a version shows, in either of its steps."""
    return columns_asked(FirstStep.from_json(version.first_step), version.system, version.user, version.answer_cue)


def dataset_for_prompt(dataset: Dataset) -> DatasetVersion | None:
    """The newest complete version of a prompt's data."""
    return dataset.versions.complete().first()


def _check(wording: PromptWording, dataset_version: DatasetVersion | None) -> None:
    problems = wording_problems(wording, shape_of(dataset_version) if dataset_version else None)
    if dataset_version:
        ids = [int(shown["example"]) for shown in wording.demonstrations if shown.get("example")]
        seen = Example.objects.filter(pk__in=ids, version=dataset_version).exclude(split=Split.TRAIN).count() if ids else 0
        if seen:
            gone = counted(seen, "row", "rows")
            problems.append(f"The prompt shows {gone} of the validation or test split as examples. Take train rows instead.")
    if problems:
        raise BadPrompt(problems)


def _describe(template: PromptTemplate, *, name: str, description: str) -> None:
    template.name, template.description = " ".join(name.split()), description.strip()
    if not 0 < len(template.name) <= 120:
        raise UserError("The prompt needs a name of 1 to 120 characters.")
    try:
        with transaction.atomic():
            template.save()
    except IntegrityError as error:
        raise UserError(f"This workspace has a prompt named {quoted(template.name)} already. Choose another name.") from error

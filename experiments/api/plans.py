"""From the ids of a request to the plan of a comparison. Every noun is fetched as the key may see it."""

from uuid import UUID

from experiments.api.access import get_for, rows_for
from experiments.api.experiment_schemas import ApproachIn, ExperimentIn, TeacherIn
from experiments.catalogue.generation import GenerationPlan
from experiments.errors import UserError
from experiments.models import ApiKey, Artifact, Backbone, DatasetVersion, Evaluation, PriceBook, TemplateVersion
from experiments.models.backbones import BackboneKind
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.planning.teachers import Teacher


def plan_of(key: ApiKey, payload: ExperimentIn) -> ExperimentPlan:
    """The plan that a request means.

    Raises:
        Http404: a noun is not in the key's workspace.
        UserError: both or neither of `prompts` and `approaches` are given, or no approach comes out.
    """
    version = get_for(key, DatasetVersion, payload.dataset_version)
    return ExperimentPlan(
        name=payload.name,
        dataset_version=version,
        approaches=_approaches(key, payload, version),
        seeds=tuple(payload.seeds),
        configurations=payload.configurations,
        description=payload.description,
        price_book=get_for(key, PriceBook, payload.price_book) if payload.price_book else None,
        too_long=payload.too_long,
        truncate_column=payload.truncate_column,
        monthly_requests=payload.monthly_requests,
        endpoint_requests=payload.endpoint_requests,
        endpoint_money=payload.endpoint_money,
        margin=payload.margin,
        open_test_when_finished=payload.open_test_when_finished,
        curve_when_finished=payload.curve_when_finished,
        generation=GenerationPlan.from_json(payload.generation.dict(by_alias=True)),
    )


def _approaches(key: ApiKey, payload: ExperimentIn, version: DatasetVersion) -> tuple[ApproachPlan, ...]:
    if bool(payload.prompts) == bool(payload.approaches):
        raise UserError("Say what to compare: either `prompts` (with `recipes`), or `approaches` one by one.")
    if payload.approaches:
        return tuple(_approach(key, wanted) for wanted in payload.approaches)
    choice = Choice(
        dataset_version=version,
        recipes=payload.recipes,
        templates=[get_for(key, TemplateVersion, prompt) for prompt in payload.prompts],
        backbone=_backbone(key, payload.backbone),
        tuned_template=get_for(key, TemplateVersion, payload.tuned_prompt) if payload.tuned_prompt else None,
        options=payload.options,
        endpoints=[_endpoint(key, endpoint) for endpoint in payload.endpoints],
        starts={recipe: get_for(key, Artifact, artifact) for recipe, artifact in payload.start_from.items()},
        teachers={recipe: _teacher(key, wanted) for recipe, wanted in payload.teachers.items()},
    )
    approaches, notes = approaches_expand(choice=choice)
    if not approaches:
        raise UserError(" ".join(notes))
    return approaches


def _approach(key: ApiKey, wanted: ApproachIn) -> ApproachPlan:
    return ApproachPlan(
        recipe=wanted.recipe,
        backbone=_backbone(key, wanted.backbone),
        template_version=get_for(key, TemplateVersion, wanted.prompt_version),
        options=wanted.options,
        name=wanted.name,
        start=get_for(key, Artifact, wanted.start_from) if wanted.start_from else None,
        teacher=_teacher(key, wanted.teacher) if wanted.teacher else None,
    )


def _teacher(key: ApiKey, wanted: TeacherIn) -> Teacher:
    if wanted.prompt_version and not wanted.answers:
        return Teacher(version=get_for(key, TemplateVersion, wanted.prompt_version))
    if wanted.answers and not wanted.prompt_version:
        return Teacher(evaluation=get_for(key, Evaluation, wanted.answers))
    raise UserError("A teacher is either a `prompt_version` or the `answers` of a run. Name one of the two.")


def _endpoint(key: ApiKey, backbone_id: UUID) -> Backbone:
    backbone = get_for(key, Backbone, backbone_id)
    if not backbone.is_hosted:
        raise UserError(f"The model “{backbone.name}” is not a hosted one. Name it in `backbone` instead of `endpoints`.")
    return backbone


def _backbone(key: ApiKey, backbone_id: UUID | None) -> Backbone:
    if backbone_id:
        return get_for(key, Backbone, backbone_id)
    starter = rows_for(key, Backbone).filter(kind=BackboneKind.BUNDLED).first()
    if starter is None:
        raise UserError("This instance has no bundled model. Name one in `backbone`.")
    return starter

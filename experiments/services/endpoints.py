"""Hosted models: registered, changed, and their keys, which go in and never come out to a person.

Whatever changes the address throws the key away: a key belongs to the host that it was given for.
"""

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from experiments.endpoints import EndpointLimits, endpoint_url, key_check, literal_check, model_name_check
from experiments.errors import UserError
from experiments.models import Backbone, EndpointKey, User, Workspace
from experiments.models.backbones import BackboneKind
from experiments.sealing import CannotOpen, seal, unseal
from experiments.services.audit import audit_record
from experiments.services.backbones import backbone_inspect, backbone_register


@dataclass(frozen=True)
class EndpointWish:
    """What a person says of an endpoint. key: None leaves it as it is, empty takes it away."""

    url: str
    model: str
    key: str | None = None
    limits: dict[str, Any] = field(default_factory=dict)


def endpoint_register(*, workspace: Workspace, name: str, wish: EndpointWish, by: User | None) -> Backbone:
    """Name a model behind an OpenAI-compatible endpoint, keep its key sealed, and ask a worker to call it once.

    Raises:
        UserError: the address, the model's name, the key or a limit cannot be used, or the name is taken.
    """
    backbone = Backbone(workspace=workspace, name=name, kind=BackboneKind.HOSTED, **_checked(wish))
    key = key_check(wish.key or "")
    with transaction.atomic():
        backbone = backbone_register(backbone=backbone, by=by)
        _key_store(backbone, key, by)
    return backbone


def endpoint_change(*, backbone: Backbone, name: str, wish: EndpointWish, by: User | None) -> bool:
    """Change an endpoint and ask a worker to call it again. Returns whether its key was thrown away with its old address.

    Raises:
        UserError: as `endpoint_register` says, or the model is no hosted one.
    """
    if not backbone.is_hosted or backbone.workspace is None:
        raise UserError("Only a hosted model can be changed. Another folder or revision is another model: register it.")
    changed = _checked(wish)
    if wish.key is not None:
        key_check(wish.key)
    try:
        with transaction.atomic():
            forgotten = _write(backbone, name, changed, wish.key, by)
    except IntegrityError as error:
        raise UserError(f"A model with the name “{name}” exists already. Choose another name.") from error
    backbone.refresh_from_db()
    return forgotten


def endpoint_key_open(*, backbone: Backbone) -> str | None:
    """The clear key for a worker that is about to call; None where there is none. Nothing else may ask for it.

    Raises:
        UserError: it was sealed for another address or by another instance.
    """
    kept = EndpointKey.objects.filter(backbone=backbone).first()
    if kept is None:
        return None
    try:
        return unseal(kept.sealed, purpose=_purpose(backbone))
    except CannotOpen as error:
        raise UserError(
            f"The key of the model {backbone.name} cannot be opened, because this installation's secret key has changed. Enter it again."
        ) from error


def _checked(wish: EndpointWish) -> dict[str, Any]:
    url = endpoint_url(wish.url)
    literal_check(url, private=settings.ENDPOINT_PRIVATE_NETWORKS)
    limits = EndpointLimits.from_json(wish.limits)
    return {"source": url, "remote_model": model_name_check(wish.model), "limits": limits.to_json()}


def _write(backbone: Backbone, name: str, changed: dict[str, Any], key: str | None, by: User | None) -> bool:
    assert backbone.workspace is not None
    old = Backbone.objects.select_for_update(of=("self",)).get(pk=backbone.pk)
    has_moved = old.source != changed["source"]
    Backbone.objects.filter(pk=backbone.pk).update(name=name, verified_at=None, facts={}, problem="", **changed)
    forgotten = bool((has_moved or key == "") and EndpointKey.objects.filter(backbone=backbone).delete()[0]) and not key
    moved = Backbone.objects.get(pk=backbone.pk)
    if key:
        _key_store(moved, key, by)
    detail = {"source": moved.source, "model": moved.remote_model, "key": "new" if key else "forgotten" if forgotten else "kept"}
    audit_record(by=by, verb="changed", target=moved, workspace=backbone.workspace, detail=detail)
    backbone_inspect(backbone=moved, workspace=backbone.workspace, by=by)
    return forgotten


def _key_store(backbone: Backbone, key: str, by: User | None) -> None:
    if key:
        sealed = seal(key, purpose=_purpose(backbone))
        EndpointKey.objects.update_or_create(backbone=backbone, defaults={"sealed": sealed, "set_by": by})


def _purpose(backbone: Backbone) -> str:
    return f"{backbone.pk} {backbone.source}"

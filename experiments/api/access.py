"""What a key may see and change: nouns of its own workspace, by the roles of `experiments.access`. The only fetch by id in API routes."""

from typing import TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.http import Http404

from experiments.access import WRITE_ROLES, RoleTooLow
from experiments.models import (
    ApiKey,
    Artifact,
    Backbone,
    Dataset,
    DatasetVersion,
    Evaluation,
    Experiment,
    PriceBook,
    PromptTemplate,
    Report,
    Role,
    Run,
    Share,
    TemplateVersion,
)

M = TypeVar("M", bound=Model)

# Where a noun's workspace stands, and what its answers need to have loaded.
PATHS: dict[type[Model], tuple[str, list[str]]] = {
    Artifact: ("run__approach__experiment__workspace", ["run__approach__experiment", "run__approach__backbone"]),
    Backbone: ("workspace", ["job", "endpoint_key"]),
    Dataset: ("workspace", []),
    DatasetVersion: ("dataset__workspace", ["dataset", "job"]),
    Evaluation: (
        "run__approach__experiment__workspace",
        ["job", "dataset_version__dataset", "run__approach__experiment", "run__approach__backbone"],
    ),
    Experiment: ("workspace", ["dataset_version__dataset", "price_book"]),
    PriceBook: ("workspace", []),
    PromptTemplate: ("workspace", ["dataset"]),
    Report: ("workspace", ["experiment"]),
    Run: ("approach__experiment__workspace", ["approach__experiment", "job"]),
    Share: ("report__workspace", ["report"]),
    TemplateVersion: ("template__workspace", ["template"]),
}


class KeyRoleTooLow(RoleTooLow):
    """The key's role does not include what the operation needs."""

    def __init__(self, needed: Role) -> None:
        super().__init__(needed)
        self.args = (f"This needs a key with the role “{needed.label}” or higher. An owner of the workspace can make one.",)


def need(key: ApiKey, role: Role) -> None:
    """Raises KeyRoleTooLow when the key's role does not include `role`."""
    if not Role(key.role).includes(role):
        raise KeyRoleTooLow(role)


def rows_for(key: ApiKey, noun: type[M]) -> "QuerySet[M]":
    """Every row of the noun that the key may see. The bundled models belong to no workspace and everybody sees them."""
    path, related = PATHS[noun]
    mine = Q(**{path: key.workspace_id})
    if noun is Backbone:
        mine |= Q(**{path: None})
    return noun._default_manager.filter(mine).select_related(*related)


def get_for(key: ApiKey, noun: type[M], noun_id: UUID, *, write: bool = False) -> M:
    """One row by id; `write` asks for the role that may change it.

    Raises:
        Http404: no such row in the key's workspace.
        KeyRoleTooLow: the key may read but not change it.
    """
    row = rows_for(key, noun).filter(pk=noun_id).first()
    if row is None:
        raise Http404(f"There is no such {noun._meta.verbose_name} in this key's workspace.")
    if write:
        need(key, WRITE_ROLES[noun])
    return row

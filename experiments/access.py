"""Who may see and change what. `get_<noun>_for` is the only fetch by id in views and API routes.

Not a member: 404, as if the noun did not exist. A member with too little role: 403, naming the role.
"""

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404

from experiments.models import (
    ApiKey,
    Artifact,
    Backbone,
    Dataset,
    DatasetVersion,
    Experiment,
    Invitation,
    Membership,
    Preview,
    PriceBook,
    PromptTemplate,
    Report,
    Role,
    Run,
    Share,
    TemplateVersion,
    User,
    Workspace,
)

M = TypeVar("M", bound=Model)

# The least role that may change each noun; everybody in the workspace may read.
WRITE_ROLES: dict[type[Model], Role] = {
    ApiKey: Role.OWNER,
    Backbone: Role.ML_ENGINEER,
    Dataset: Role.DOMAIN_EXPERT,
    DatasetVersion: Role.DOMAIN_EXPERT,
    Experiment: Role.DOMAIN_EXPERT,
    Invitation: Role.OWNER,
    Membership: Role.OWNER,
    Preview: Role.DOMAIN_EXPERT,
    PriceBook: Role.DOMAIN_EXPERT,
    PromptTemplate: Role.DOMAIN_EXPERT,
    Report: Role.DOMAIN_EXPERT,
    Run: Role.DOMAIN_EXPERT,
    Share: Role.DOMAIN_EXPERT,
    TemplateVersion: Role.DOMAIN_EXPERT,
    Workspace: Role.OWNER,
}


class RoleTooLow(PermissionDenied):
    """The member's role does not include what the action needs."""

    def __init__(self, needed: Role) -> None:
        self.needed = needed
        super().__init__(f"This needs the role “{needed.label}” or higher. Ask an owner of the workspace to change your role.")


class MakesNoWorkspace(PermissionDenied):
    """The person owns no workspace, so none is made for them."""

    happened = "A new workspace is made by people who own one already, and by the administrators of this instance."

    def __init__(self) -> None:
        super().__init__("Ask an owner to make one and to invite you, as an owner if you like.")


def makes_workspaces(user: User, roles: Iterable[str]) -> bool:
    """Whether a person with these roles may make another workspace."""
    return user.is_staff or Role.OWNER in roles


def require_workspace_maker(user: User) -> None:
    """Raises MakesNoWorkspace when the user may not make a workspace."""
    if not makes_workspaces(user, Membership.objects.filter(user=user).values_list("role", flat=True)):
        raise MakesNoWorkspace


def require_role(membership: Membership, needed: Role) -> None:
    """Raises RoleTooLow when the membership's role does not include `needed`."""
    if not Role(membership.role).includes(needed):
        raise RoleTooLow(needed)


def get_membership_for(user: User, slug: str, *, needs: Role = Role.VIEWER) -> Membership:
    """The user's membership of the workspace at `slug`, with the workspace loaded.

    Raises:
        Http404: the workspace does not exist or the user is not a member.
        RoleTooLow: the role does not include `needs`.
    """
    membership = Membership.objects.select_related("workspace").filter(user=user, workspace__slug=slug).first()
    if membership is None:
        raise Http404("There is no such workspace, or you are not a member of it.")
    require_role(membership, needs)
    return membership


def get_workspace_for(user: User, slug: str, *, write: bool = False) -> Workspace:
    """The workspace at `slug`; `write` asks for the role that may change its settings."""
    needs = WRITE_ROLES[Workspace] if write else Role.VIEWER
    return get_membership_for(user, slug, needs=needs).workspace


def get_dataset_for(user: User, dataset_id: UUID, *, write: bool = False) -> Dataset:
    return _fetch(Dataset.objects.select_related("workspace"), "workspace", user, dataset_id, write)


def get_dataset_version_for(user: User, version_id: UUID, *, write: bool = False) -> DatasetVersion:
    return _fetch(DatasetVersion.objects.select_related("dataset__workspace", "job"), "dataset__workspace", user, version_id, write)


def get_prompt_template_for(user: User, template_id: UUID, *, write: bool = False) -> PromptTemplate:
    return _fetch(PromptTemplate.objects.select_related("workspace", "dataset"), "workspace", user, template_id, write)


def get_template_version_for(user: User, version_id: UUID, *, write: bool = False) -> TemplateVersion:
    return _fetch(TemplateVersion.objects.select_related("template__workspace"), "template__workspace", user, version_id, write)


def get_preview_for(user: User, preview_id: UUID, *, write: bool = False) -> Preview:
    return _fetch(
        Preview.objects.select_related("job", "backbone", "dataset_version__dataset__workspace"),
        "dataset_version__dataset__workspace",
        user,
        preview_id,
        write,
    )


def get_backbone_for(user: User, backbone_id: UUID, *, write: bool = False) -> Backbone:
    """A workspace's own model, or to read a shared one: those belong to no workspace, and every member of any may look."""
    rows = Backbone.objects.select_related("workspace", "job")
    shared = None if write else rows.filter(pk=backbone_id, workspace=None).first()
    return shared or _fetch(rows, "workspace", user, backbone_id, write)


def get_experiment_for(user: User, experiment_id: UUID, *, write: bool = False) -> Experiment:
    return _fetch(
        Experiment.objects.select_related("workspace", "dataset_version__dataset", "price_book"), "workspace", user, experiment_id, write
    )


def get_run_for(user: User, run_id: UUID, *, write: bool = False) -> Run:
    return _fetch(
        Run.objects.select_related("approach__experiment__workspace", "job"), "approach__experiment__workspace", user, run_id, write
    )


def get_artifact_for(user: User, artifact_id: UUID) -> Artifact:
    rows = Artifact.objects.select_related("run__approach__experiment__workspace")
    return _fetch(rows, "run__approach__experiment__workspace", user, artifact_id, False)


def get_price_book_for(user: User, book_id: UUID, *, write: bool = False) -> PriceBook:
    return _fetch(PriceBook.objects.select_related("workspace"), "workspace", user, book_id, write)


def get_api_key_for(user: User, key_id: UUID, *, write: bool = False) -> ApiKey:
    return _fetch(ApiKey.objects.select_related("workspace"), "workspace", user, key_id, write)


def get_invitation_for(user: User, invitation_id: UUID, *, write: bool = False) -> Invitation:
    return _fetch(Invitation.objects.select_related("workspace"), "workspace", user, invitation_id, write)


def get_member_for(user: User, membership_id: int, *, write: bool = False) -> Membership:
    """Somebody's membership of a workspace that `user` belongs to."""
    return _fetch(Membership.objects.select_related("workspace", "user"), "workspace", user, membership_id, write)


def get_report_for(user: User, report_id: UUID, *, write: bool = False) -> Report:
    return _fetch(Report.objects.select_related("workspace", "experiment"), "workspace", user, report_id, write)


def get_share_for(user: User, share_id: UUID, *, write: bool = False) -> Share:
    return _fetch(Share.objects.select_related("report__workspace"), "report__workspace", user, share_id, write)


def _fetch(rows: "QuerySet[M]", path: str, user: User, noun_id: UUID | int, write: bool) -> M:
    """One row whose workspace (at lookup `path`) the user belongs to, with the role that the noun's change needs."""
    noun = rows.filter(**{f"{path}__memberships__user": user}).filter(pk=noun_id).first()
    if noun is None:
        raise Http404(f"There is no such {rows.model._meta.verbose_name}, or it belongs to a workspace that you are not a member of.")
    if write:
        workspace: Any = noun
        for attribute in path.split("__"):
            workspace = getattr(workspace, attribute)
        require_role(Membership.objects.get(user=user, workspace=workspace), WRITE_ROLES[type(noun)])
    return noun

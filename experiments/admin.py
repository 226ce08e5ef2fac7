"""The admin panel for ML engineers: look at everything of their workspaces, stop a job, try one again. It never starts runs.

`is_staff` opens it; a membership decides what it shows, unless the person is a superuser. Nothing is added, edited or
deleted here but accounts, which belong to superusers. Lists stay cheap however many predictions there are.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from experiments.errors import UserError
from experiments.models import (
    ApiKey,
    Artifact,
    Attempt,
    AuditEntry,
    Backbone,
    DatasetVersion,
    Evaluation,
    Experiment,
    Job,
    JobKind,
    Membership,
    Prediction,
    Role,
    Run,
    User,
    Worker,
    Workspace,
)
from experiments.services.experiments import run_retry
from experiments.services.jobs import job_cancel, job_retry

COUNTED_ROWS = 10_000
ATTEMPT_FIELDS = ("fence", "worker", "started_at", "ended_at", "outcome", "peak_memory_bytes")

for alien in (Group, EmailAddress):  # roles are memberships, and the email is the account's own
    admin.site.unregister(alien)
admin.site.site_header = admin.site.site_title = "PromptLab admin"
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # one sign-in page, one rate limit


class CheapPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    """Counts no further than a person would page: counting millions of predictions takes longer than showing them."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNTED_ROWS].count())


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """A list to look at. `workspace_path` is the lookup of the workspace; None shows the rows to superusers only."""

    workspace_path: ClassVar[str | None] = None
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 50
    paginator = CheapPaginator

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows = super().get_queryset(request)
        if getattr(request.user, "is_superuser", False):
            return rows
        if self.workspace_path is None:
            return rows.none()
        path = self.workspace_path + "__" if self.workspace_path else ""
        return rows.filter(**{f"{path}memberships__user": request.user})

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_active and getattr(request.user, "is_staff", False))

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class AttemptInline(admin.TabularInline):  # type: ignore[type-arg]  # generic in the stubs only
    model = Attempt
    fields = ATTEMPT_FIELDS
    readonly_fields = ATTEMPT_FIELDS
    extra = 0
    has_add_permission = has_change_permission = has_delete_permission = lambda self, request, obj=None: False
    has_view_permission = lambda self, request, obj=None: True  # noqa: E731 - the job's own page has been checked


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    workspace_path = "workspace"
    list_display = ["kind", "state", "workspace", "queue", "worker", "num_attempts", "num_crashes", "created_at", "finished_at"]
    list_filter = ["state", "kind", "queue"]
    list_select_related = ["workspace"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=worker"]
    actions = ["cancel", "retry"]
    inlines = [AttemptInline]

    @admin.action(description="Stop the selected jobs")
    def cancel(self, request: HttpRequest, queryset: "QuerySet[Job]") -> None:
        self._each(request, queryset, lambda job: job_cancel(job=job, by=_person(request)), done="asked to stop")

    @admin.action(description="Try the selected jobs again")
    def retry(self, request: HttpRequest, queryset: "QuerySet[Job]") -> None:
        self._each(request, queryset, lambda job: _try_again(job, _person(request)), done="queued again")

    def _each(self, request: HttpRequest, jobs: "QuerySet[Job]", act: Callable[[Job], None], *, done: str) -> None:
        """Act on each job that the person may act on, and say what happened to every one of them."""
        for job in jobs.select_related("workspace"):
            if not _may_operate(request, job):
                self.message_user(request, f"{job}: this needs the role “{Role.ML_ENGINEER.label}” in its workspace.", messages.ERROR)
                continue
            try:
                act(job)
                self.message_user(request, f"{job.get_kind_display()} was {done}.", messages.SUCCESS)
            except UserError as error:
                self.message_user(request, f"{job}: {error}", messages.WARNING)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    workspace_path = "job__workspace"
    list_display = ["job", "fence", "worker", "started_at", "ended_at", "outcome"]
    list_filter = ["outcome"]
    list_select_related = ["job"]
    ordering = ["-id"]


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Machines belong to no workspace, and every ML engineer has to see whether they live."""

    list_display = ["name", "queue", "started_at", "seen_at", "device"]
    list_filter = ["queue"]

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Worker]":
        return Worker.objects.all()


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    workspace_path = "approach__experiment__workspace"
    list_display = ["approach", "seed", "state", "experiment"]
    list_filter = ["job__state"]
    list_select_related = ["approach__experiment", "job"]
    ordering = ["-job__created_at"]
    search_fields = ["=id"]

    @admin.display(ordering="job__state")
    def state(self, run: Run) -> str:
        return run.job.get_state_display()

    def experiment(self, run: Run) -> str:
        return run.approach.experiment.name


@admin.register(Evaluation)
class EvaluationAdmin(ReadOnlyAdmin):
    workspace_path = "run__approach__experiment__workspace"
    list_display = ["run", "split", "suite", "repetition", "completed_at"]
    list_filter = ["split", "suite"]
    list_select_related = ["run__approach__experiment", "run__job"]
    ordering = ["-created_at"]
    search_fields = ["=id"]


@admin.register(Prediction)
class PredictionAdmin(ReadOnlyAdmin):
    workspace_path = "evaluation__run__approach__experiment__workspace"
    list_display = ["id", "evaluation", "row", "predicted", "correct", "seconds"]
    list_filter = ["correct"]
    list_select_related = ["evaluation__run__approach", "example"]
    ordering = ["-id"]
    search_fields = ["=evaluation__id"]
    search_help_text = "The id of a result"
    raw_id_fields = ["evaluation", "attempt", "example"]

    def row(self, prediction: Prediction) -> int:
        return prediction.example.position


@admin.register(Experiment)
class ExperimentAdmin(ReadOnlyAdmin):
    workspace_path = "workspace"
    list_display = ["name", "workspace", "dataset_version", "created_at", "launched_at", "finished_at"]
    list_select_related = ["workspace", "dataset_version__dataset"]
    ordering = ["-created_at"]
    search_fields = ["=id", "name"]


@admin.register(DatasetVersion)
class DatasetVersionAdmin(ReadOnlyAdmin):
    workspace_path = "dataset__workspace"
    list_display = ["dataset", "number", "source_name", "source_bytes", "created_at", "completed_at"]
    list_select_related = ["dataset"]
    ordering = ["-created_at"]


@admin.register(Backbone)
class BackboneAdmin(ReadOnlyAdmin):
    workspace_path = "workspace"
    list_display = ["name", "kind", "source", "revision", "verified_at", "problem"]
    list_filter = ["kind"]
    ordering = ["-created_at"]


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    workspace_path = "run__approach__experiment__workspace"
    list_display = ["run", "num_bytes", "created_at"]
    list_select_related = ["run__approach"]
    ordering = ["-created_at"]


@admin.register(Workspace)
class WorkspaceAdmin(ReadOnlyAdmin):
    workspace_path = ""
    list_display = ["name", "slug", "created_at"]
    ordering = ["name"]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    workspace_path = "workspace"
    list_display = ["at", "actor_label", "verb", "target_kind", "target_name", "workspace"]
    list_select_related = ["workspace"]
    ordering = ["-id"]
    search_fields = ["=target_id", "=actor_label"]


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """For superusers: which keys there are. Not even a hash is shown."""

    list_display = ["name", "prefix", "workspace", "role", "last_used_on", "revoked_at"]
    list_select_related = ["workspace"]
    exclude = ["key_sha256"]


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    workspace_path = "workspace"
    list_display = ["user", "workspace", "role", "created_at"]
    list_filter = ["role"]
    list_select_related = ["user", "workspace"]


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    """For superusers: who may sign in and who may open this panel."""

    list_display = ["email", "name", "is_active", "is_staff", "is_superuser", "last_login"]
    list_filter = ["is_active", "is_staff", "is_superuser"]
    search_fields = ["email", "name"]
    fields = ["email", "name", "is_active", "is_staff", "is_superuser", "last_login"]
    readonly_fields = ["last_login"]
    ordering = ["email"]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(getattr(request.user, "is_superuser", False))


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _may_operate(request: HttpRequest, job: Job) -> bool:
    person = _person(request)
    membership = Membership.objects.filter(user=person, workspace=job.workspace).first()
    return person.is_superuser or (membership is not None and Role(membership.role).includes(Role.ML_ENGINEER))


def _try_again(job: Job, by: User) -> None:
    """A run takes its failed evaluations along; every other job stands for itself."""
    if job.kind == JobKind.RUN:
        run_retry(run=job.run, by=by)
    else:
        job_retry(job=job, by=by)

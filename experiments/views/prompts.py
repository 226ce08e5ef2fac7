"""Prompt pages: list, editor with its live preview, versions, the production alias."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments.access import (
    WRITE_ROLES,
    get_dataset_version_for,
    get_membership_for,
    get_prompt_template_for,
    get_template_version_for,
    get_workspace_for,
)
from experiments.errors import UserError
from experiments.forms.prompts import PromptDetailsForm, PromptForm
from experiments.models import DatasetVersion, PromptTemplate, TemplateVersion, Workspace
from experiments.prompting.wording import (
    FilledTooLong,
    PromptWording,
    SlotUnfilled,
    demonstrations_fill,
    first_step_fill,
    row_fill,
    wording_lines,
    wording_problems,
)
from experiments.reads import prompts as reads
from experiments.services import prompts
from experiments.views.viewer import posted, require_here, viewer

GET_POST = ["GET", "HEAD", "POST"]


@require_safe
def prompt_list(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_workspace_for(viewer(request), slug)
    return render(request, "prompt_list.html", {"prompts": reads.prompts_of(workspace)})


@require_http_methods(GET_POST)
def prompt_create(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = writable_workspace(request, slug)
    version = chosen_version(request, workspace)
    form = PromptForm(posted(request), version=version)
    if request.method == "POST" and not form.is_edit and form.is_valid():
        name, note = form.cleaned_data["name"], form.cleaned_data["note"]
        try:
            written = prompts.prompt_create(
                workspace=workspace, by=viewer(request), name=name, wording=form.wording(), dataset_version=version, note=note
            )
            messages.success(request, f"Saved as {written}.")
            return redirect("prompt-detail", slug, written.template_id)
        except UserError as error:
            form.add_problems(error)
    return _editor(request, form, workspace, None)


@require_http_methods(GET_POST)
def prompt_edit(request: HttpRequest, slug: str, template_id: UUID) -> HttpResponse:
    template = _template(request, slug, template_id, write=True)
    version = chosen_version(request, template.workspace, template)
    form = PromptForm(posted(request), version=version, wording=_start_from(request, template), is_new=False)
    if request.method == "POST" and not form.is_edit and form.is_valid():
        try:
            return _saved(request, template, form, version)
        except UserError as error:
            form.add_problems(error)
    return _editor(request, form, template.workspace, template)


@require_safe
def prompt_detail(request: HttpRequest, slug: str, template_id: UUID) -> HttpResponse:
    template = _template(request, slug, template_id)
    versions = list(reads.versions_of(template))
    shown = _numbered(versions, request.GET.get("version")) or (versions[0] if versions else None)
    if shown is None:
        raise Http404("This prompt has no version.")
    earlier = [version for version in versions if version.number < shown.number]
    against = _numbered(versions, request.GET.get("against")) or (earlier[0] if earlier else None)
    context = {
        "template": template,
        "versions": versions,
        "shown": shown,
        "against": against,
        "diff": _diff(against, shown) if against and against != shown else [],
        "aliases": {alias.version_id: alias.name for alias in template.aliases.all()},
        "test_opened_at": reads.test_first_opened(template.dataset),
        "first_step_ends": first.ends() if (first := prompts.wording_of(shown).first_step) else "",
    }
    return render(request, "prompt_detail.html", context)


@require_http_methods(GET_POST)
def prompt_rename(request: HttpRequest, slug: str, template_id: UUID) -> HttpResponse:
    template = _template(request, slug, template_id, write=True)
    said = {"name": template.name, "description": template.description}
    form = PromptDetailsForm(posted(request), initial=said)
    if request.method == "POST" and form.is_valid():
        try:
            prompts.prompt_update(template=template, by=viewer(request), **form.cleaned_data)
            return redirect("prompt-detail", slug, template.pk)
        except UserError as error:
            form.add_error(None, str(error))
    context = {"form": form, "template": template, "said": said}
    return render(request, "prompt_rename.html", context, status=422 if form.errors else 200)


@require_POST
def prompt_promote(request: HttpRequest, slug: str, version_id: UUID) -> HttpResponse:
    """Let `production` point at this version."""
    version = get_template_version_for(viewer(request), version_id, write=True)
    require_here(version.template.workspace, slug)
    prompts.prompt_alias_move(version=version, by=viewer(request))
    messages.success(request, f"“production” now points at {version}.")
    return redirect("prompt-detail", slug, version.template_id)


@require_POST
def prompt_preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The prompt as it stands in the editor, filled with a validation row; nothing is stored and no model is asked."""
    workspace = writable_workspace(request, slug)
    version = chosen_version(request, workspace)
    if version is None:
        return HttpResponse(status=204)
    wording = PromptForm(request.POST, version=version, is_new=False).wording()
    number = request.POST.get("row", "")
    place = int(number) if number.isdecimal() and len(number) < 10 else 0
    row, total = reads.row_to_show(version, place)
    context: dict[str, Any] = {"problems": wording_problems(wording, prompts.shape_of(version)), "row": row, "place": place, "total": total}
    if row and not context["problems"]:
        try:
            context |= {
                "wording": wording,
                "first_pieces": first_step_fill(wording, row.fields),
                "pieces": row_fill(wording, row.fields),
                "examples": demonstrations_fill(wording),
            }
        except (SlotUnfilled, FilledTooLong) as error:
            context["problems"] = [str(error)]
    return render(request, "_prompt_preview.html", context)


def writable_workspace(request: HttpRequest, slug: str) -> Workspace:
    return get_membership_for(viewer(request), slug, needs=WRITE_ROLES[PromptTemplate]).workspace


def chosen_version(request: HttpRequest, workspace: Workspace, template: PromptTemplate | None = None) -> DatasetVersion | None:
    """The data that the prompt is written for: the one asked for, the prompt's own, or the newest of the workspace."""
    wanted = request.POST.get("data") or request.GET.get("data")
    if wanted:
        try:
            version = get_dataset_version_for(viewer(request), UUID(wanted))
        except (ValueError, ValidationError) as error:
            raise Http404("There is no such data.") from error
        require_here(version.dataset.workspace, workspace.slug)
        return version if version.completed_at else None
    if template and template.dataset and (version_of_template := prompts.dataset_for_prompt(template.dataset)):
        return version_of_template
    return next(iter(reads.versions_to_write_for(workspace)), None)


def _editor(request: HttpRequest, form: PromptForm, workspace: Workspace, template: PromptTemplate | None) -> HttpResponse:
    version, sent = form.version, request.POST
    find = {"find_text": sent.get("find_text", "")[:200], "find_label": sent.get("find_label", "")}
    context = {
        "form": form,
        "template": template,
        "version": version,
        "versions": reads.versions_to_write_for(workspace),
        "backbones": reads.backbones_for(workspace),
        **find,
        "found": reads.train_rows_found(version, find["find_text"], find["find_label"]) if version and _looks_for_rows(form) else [],
        "open_examples": form.is_edit and "switch" not in sent,
    }
    if form.is_edit:
        form.errors.clear()
    failed = request.method == "POST" and not form.is_edit
    return render(request, "prompt_editor.html", context, status=422 if failed else 200)


def _looks_for_rows(form: PromptForm) -> bool:
    """Whether rows were asked for. After one was taken the others stay; drawn or removed examples bring none."""
    return form.is_bound and any(button in form.data for button in ("find", "add"))


def _saved(request: HttpRequest, template: PromptTemplate, form: PromptForm, version: DatasetVersion | None) -> HttpResponse:
    newest = template.versions.first()
    written = prompts.prompt_version_save(
        template=template, by=viewer(request), wording=form.wording(), dataset_version=version, note=form.cleaned_data["note"]
    )
    if newest and written.pk == newest.pk:
        messages.info(request, f"Nothing was changed, so {written} stays the newest version.")
    else:
        messages.success(request, f"Saved as {written}.")
    return redirect("prompt-detail", template.workspace.slug, template.pk)


def _start_from(request: HttpRequest, template: PromptTemplate) -> PromptWording | None:
    """The version to edit: the one in the address, else the newest."""
    versions = list(template.versions.all())
    version = _numbered(versions, request.GET.get("version")) or (versions[0] if versions else None)
    return prompts.wording_of(version) if version else None


def _template(request: HttpRequest, slug: str, template_id: UUID, *, write: bool = False) -> PromptTemplate:
    template = get_prompt_template_for(viewer(request), template_id, write=write)
    require_here(template.workspace, slug)
    return template


def _numbered(versions: list[TemplateVersion], number: str | None) -> TemplateVersion | None:
    return next((version for version in versions if str(version.number) == number), None)


def _diff(before: TemplateVersion, after: TemplateVersion) -> list[reads.DiffLine]:
    return reads.lines_diff(wording_lines(prompts.wording_of(before)), wording_lines(prompts.wording_of(after)))

"""One page for deleting data, a prompt or a comparison: what goes, what stands in the way, one button. Engineers and owners only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from experiments.access import get_dataset_for, get_experiment_for, get_membership_for, get_prompt_template_for
from experiments.errors import UserError
from experiments.models import Role
from experiments.reads import removals as reads
from experiments.services import removals as services
from experiments.views.viewer import require_here, viewer
from experiments.wording import quoted

VERBS = require_http_methods(["GET", "HEAD", "POST"])


@dataclass(frozen=True)
class Kind:
    """How one kind of noun is fetched, looked at and deleted. `detail` and `list` name its pages, `argument` its keyword."""

    word: str
    argument: str
    detail: str
    list: str
    fetch: Callable[..., Any]
    removal: Callable[[Any], reads.Removal]
    delete: Callable[..., None]


DATA = Kind("data", "dataset", "dataset-detail", "dataset-list", get_dataset_for, reads.dataset_removal, services.dataset_delete)
PROMPT = Kind("prompt", "template", "prompt-detail", "prompt-list", get_prompt_template_for, reads.prompt_removal, services.prompt_delete)
COMPARISON = Kind(
    *("comparison", "experiment", "comparison-detail", "comparison-list"),
    get_experiment_for,
    reads.experiment_removal,
    services.experiment_delete,
)


@VERBS
def dataset_delete(request: HttpRequest, slug: str, dataset_id: UUID) -> HttpResponse:
    return _answer(request, slug, dataset_id, DATA)


@VERBS
def prompt_delete(request: HttpRequest, slug: str, template_id: UUID) -> HttpResponse:
    return _answer(request, slug, template_id, PROMPT)


@VERBS
def comparison_delete(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    return _answer(request, slug, experiment_id, COMPARISON)


def _answer(request: HttpRequest, slug: str, noun_id: UUID, kind: Kind) -> HttpResponse:
    get_membership_for(viewer(request), slug, needs=Role.ML_ENGINEER)
    noun = kind.fetch(viewer(request), noun_id, write=True)
    require_here(noun.workspace, slug)
    problem = ""
    if request.method == "POST":
        try:
            kind.delete(**{kind.argument: noun}, by=viewer(request))
            messages.success(request, f"The {kind.word} {quoted(noun.name)} is deleted.")
            return redirect(kind.list, slug)
        except UserError as error:
            problem = str(error)
    context = {"noun": noun, "kind": kind, "removal": kind.removal(noun), "problem": problem}
    return render(request, "removal_confirm.html", context, status=409 if problem else 200)

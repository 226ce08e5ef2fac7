"""One run: what it was asked, how it trained, what it gave; stopping it and trying it again."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from experiments.access import get_run_for
from experiments.errors import UserError
from experiments.models import Run
from experiments.planning.plans import WITHOUT_MODEL
from experiments.planning.teachers import TEACHABLE
from experiments.presence import job_health
from experiments.reads.charts import Chart
from experiments.reads.curve_charts import curve_charts
from experiments.reads.dial_lines import dial_lines, kind_of_approach
from experiments.reads.explanations import explanation_of
from experiments.reads.live import curves_of, progress_sentence
from experiments.reads.second_rounds import focus_of
from experiments.reads.teaching import teaching_view
from experiments.reads.trials import is_sweep, search_view, trials_of
from experiments.services import experiments as services
from experiments.services.explanations import explanation_start
from experiments.views.viewer import require_here, viewer

TRIALS_A_PAGE = 50


def run_at(request: HttpRequest, slug: str, run_id: UUID, *, write: bool = False) -> Run:
    run = get_run_for(viewer(request), run_id, write=write)
    require_here(run.approach.experiment.workspace, slug)
    return run


@require_safe
def run_detail(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    run = run_at(request, slug, run_id)
    against = "seconds" if request.GET.get("curves") == "seconds" else "step"
    context = {
        "run": run,
        "experiment": run.approach.experiment,
        "evaluations": run.evaluations.exclude(split__in=TEACHABLE).select_related("job").prefetch_related("scores"),
        "curve_charts": _curves(run, against) if run.job.has_ended else [],
        "against": against,
        "title": kind.name if (kind := kind_of_approach(run.approach)) else run.approach.method,
        "uses_model": run.approach.method not in WITHOUT_MODEL,
        "dials": dial_lines(run.approach.method, run.approach.teaching | run.approach.recipe, run.approach.model_facts),
        "explanation": explanation_of(run),
        "teaching": teaching_view(run),
        "focus": focus_of(run),
        **state_of(run),
    }
    context["tried_chart"] = context["search"].chart if context["search"] and run.job.has_ended else None
    return render(request, "run_detail.html", context)


@require_safe
def run_state(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    """The polled part; it asks the browser to load the page anew once the run has ended."""
    run = run_at(request, slug, run_id)
    response = render(request, "_run_state.html", {"run": run, **state_of(run)})
    if run.job.has_ended:
        response["HX-Refresh"] = "true"
    return response


def state_of(run: Run) -> dict[str, Any]:
    attempts = run.job.attempts.all()
    charts = [] if run.job.has_ended else _curves(run)
    said = {"health": job_health(run.job), "sentence": progress_sentence(run.job)}
    return {"job": run.job, **said, "attempts": attempts, "live_charts": charts, "search": search_view(run)}


def _curves(run: Run, against: str = "step") -> list[Chart]:
    return curve_charts(curves_of(run.approach.experiment, run=run), against=against)


@require_safe
def run_trials(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    """Everything that a search tried, with its words."""
    run = run_at(request, slug, run_id)
    page = Paginator(trials_of(run), TRIALS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "run": run,
        "experiment": run.approach.experiment,
        "page": page,
        "is_sweep": is_sweep(run),
        "summary": f"Page {page.number} of {page.paginator.num_pages}" if page.has_other_pages() else "",
        "previous_url": f"?page={page.previous_page_number()}" if page.has_previous() else "",
        "next_url": f"?page={page.next_page_number()}" if page.has_next() else "",
    }
    return render(request, "run_trials.html", context)


@require_POST
def run_cancel(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    run = run_at(request, slug, run_id, write=True)
    return _done(request, slug, run, services.run_cancel)


@require_POST
def run_retry(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    run = run_at(request, slug, run_id, write=True)
    return _done(request, slug, run, services.run_retry)


@require_safe
def run_explanation(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    """The part about learned tokens, which is asked for again until their worth is measured."""
    run = run_at(request, slug, run_id)
    explanation = explanation_of(run)
    if explanation is None:
        raise Http404("This run has left no learned tokens.")
    return render(request, "_run_explanation.html", {"run": run, "explanation": explanation})


@require_POST
def run_explain(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    run = run_at(request, slug, run_id, write=True)
    try:
        explanation_start(run=run, by=viewer(request))
    except UserError as error:
        messages.error(request, str(error))
    return redirect(f"{reverse('run-detail', args=[slug, run.pk])}#explanation")


def _done(request: HttpRequest, slug: str, run: Run, change: Any) -> HttpResponse:
    """Make the change and go back to the comparison, with a sentence when it cannot be made."""
    try:
        change(run=run, by=viewer(request))
    except UserError as error:
        messages.error(request, str(error))
    return redirect("comparison-detail", slug, run.approach.experiment_id)

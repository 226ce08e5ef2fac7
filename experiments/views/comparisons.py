"""Comparisons: the list, the form with its estimate, the page of one comparison with its live part, and what can be done to it."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments.access import get_experiment_for, get_membership_for, get_template_version_for, get_workspace_for
from experiments.errors import UserError
from experiments.forms.comparisons import BudgetForm, ComparisonForm, launch_key
from experiments.models import Experiment, Role, Split, TemplateVersion, TestOpening
from experiments.planning.checks import plan_problems
from experiments.planning.notes import plan_notes
from experiments.reads.charts import Chart, break_even_chart, quality_chart, spent_chart
from experiments.reads.comparison_rows import comparison_rows
from experiments.reads.confusions import confusion_view
from experiments.reads.curve_charts import curve_charts
from experiments.reads.endpoints import endpoint_spending
from experiments.reads.estimates import plan_estimate
from experiments.reads.headlines import headline
from experiments.reads.inks import placed
from experiments.reads.key_figures import key_figures
from experiments.reads.learning_view import curve_panel
from experiments.reads.live import LiveState, curves_of, live_state
from experiments.reads.second_rounds import focus_sentences
from experiments.reads.set_up_again import form_values, prompt_values
from experiments.reads.table_view import table_view
from experiments.services import advances, launches
from experiments.services import experiments as services
from experiments.services.endpoint_calls import endpoint_budget_set
from experiments.views.viewer import require_here, viewer
from experiments.wording import counted

PAGE = 50
MAX_REPORTS = 20


def experiment_at(request: HttpRequest, slug: str, experiment_id: UUID, *, write: bool = False) -> Experiment:
    """The comparison at this address. The workspace in the address must be its own, for the page's frame shows it."""
    experiment = get_experiment_for(viewer(request), experiment_id, write=write)
    require_here(experiment.workspace, slug)
    return experiment


def _asked(service: Callable[..., object], request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """One wish of a person about a comparison: done, or refused with a sentence, and back to its page."""
    experiment = experiment_at(request, slug, experiment_id, write=True)
    try:
        service(experiment=experiment, by=viewer(request))
    except UserError as error:
        messages.error(request, str(error))
    return redirect("comparison-detail", slug, experiment.pk)


@require_safe
def comparison_list(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_workspace_for(viewer(request), slug)
    page = Paginator(comparison_rows(workspace), PAGE).get_page(request.GET.get("page"))
    return render(request, "comparison_list.html", {"page": page})


@require_http_methods(["GET", "HEAD", "POST"])
def comparison_create(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_membership_for(viewer(request), slug, needs=Role.DOMAIN_EXPERT).workspace
    form = ComparisonForm(request.POST or None, workspace=workspace, initial=_first_values(request, slug))
    if request.method == "POST" and form.is_valid():
        key = launch_key(request.POST)
        known = launches.experiment_started(workspace=workspace, key=key)
        if known:
            messages.info(request, "This form has started this comparison already. To start another one, change something in the form.")
            return redirect("comparison-detail", slug, known.pk)
        try:
            experiment = launches.experiment_start(workspace=workspace, by=viewer(request), plan=form.plan(), key=key)
        except UserError as error:
            form.refuse(error)
        else:
            return redirect("comparison-detail", slug, experiment.pk)
    return render(request, "comparison_create.html", {"form": form})


def _first_values(request: HttpRequest, slug: str) -> dict[str, Any]:
    """First values of the form: those of the comparison or for the prompt that the address names, if it names one."""
    again, prompt = request.GET.get("again", ""), request.GET.get("prompt", "")
    try:
        if again:
            return form_values(experiment_at(request, slug, UUID(again)))
        return prompt_values(_prompt_at(request, slug, UUID(prompt))) if prompt else {}
    except ValueError as error:
        raise Http404("There is no such comparison or prompt.") from error


def _prompt_at(request: HttpRequest, slug: str, version_id: UUID) -> TemplateVersion:
    version = get_template_version_for(viewer(request), version_id)
    require_here(version.template.workspace, slug)
    return version


@require_POST
def comparison_estimate(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the form that says how much work it asks for and what stands against it."""
    workspace = get_membership_for(viewer(request), slug, needs=Role.DOMAIN_EXPERT).workspace
    asked = request.POST.copy()
    asked["name"] = asked.get("name") or "–"
    form = ComparisonForm(asked, workspace=workspace)
    if not form.is_valid():
        return render(request, "_comparison_estimate.html", {"missing": True})
    found: dict[str, Any] = {"estimate": None, "notes": []}
    try:
        found["plan"] = plan = form.plan()
        found["problems"] = plan_problems(plan)
        if not found["problems"]:
            found |= {"estimate": plan_estimate(plan), "notes": plan_notes(plan)}
    except UserError as error:
        found["problems"] = [str(error)]
    return render(request, "_comparison_estimate.html", found | {"notes": [*form.notes, *found["notes"]]})


@require_safe
def comparison_detail(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    experiment = experiment_at(request, slug, experiment_id)
    if experiment.curve_of_id:
        return redirect("learning-curve", slug, experiment.curve_of_id)
    state = live_state(experiment)
    results = results_of(request, experiment)
    curves = curves_of(experiment) if results["table"] else []
    against = "seconds" if request.GET.get("curves") == "seconds" else "step"
    context = {
        "experiment": experiment,
        "state": state,
        "live_charts": live_charts(experiment, state),
        **results,
        "spending": endpoint_spending(experiment) if state.asks_hosted_models else None,
        "second_round": focus_sentences(experiment),
        "price_books": [] if experiment.price_book else experiment.workspace.price_books.all(),
        "learning": curve_panel(experiment) if results["table"] else None,
        "curve_charts": curve_charts(curves, against=against),
        "against": against,
        "reports": experiment.reports.only("title", "created_at")[:MAX_REPORTS],
        "num_test_rows": experiment.dataset_version.split_counts.get(Split.TEST, 0),
        "num_openings": TestOpening.objects.filter(version__dataset=experiment.dataset_version.dataset_id).count(),
    }
    return render(request, "comparison_detail.html", context)


@require_safe
def comparison_state(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """The polled part. Once a table has come or everything has ended, it asks the browser to load the page anew."""
    experiment = experiment_at(request, slug, experiment_id)
    state = live_state(experiment)
    context = {"experiment": experiment, "state": state, "live_charts": live_charts(experiment, state)}
    response = render(request, "_comparison_state.html", context)
    if request.GET.get("stamp", "") != state.stamp:
        response["HX-Refresh"] = "true"
    return response


def live_charts(experiment: Experiment, state: LiveState) -> list[Chart]:
    """The curves of the runs that train now; the page draws them again with every answer."""
    return curve_charts(curves_of(experiment)) if state.is_training else []


@require_safe
def comparison_table(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """The results table alone, in another order."""
    experiment = experiment_at(request, slug, experiment_id)
    results = results_of(request, experiment)
    if results["table"] is None:
        raise Http404("The comparison has not been computed yet. The page shows it when the runs have ended.")
    return render(request, "_comparison_table.html", {"experiment": experiment, **results})


@require_POST
def comparison_open_test(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    return _asked(advances.experiment_open_test, request, slug, experiment_id)


@require_POST
def comparison_cancel(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    experiment = experiment_at(request, slug, experiment_id, write=True)
    stopped = services.experiment_cancel(experiment=experiment, by=viewer(request))
    messages.info(request, f"{counted(stopped, 'run')} asked to stop. What has succeeded is kept and compared.")
    return redirect("comparison-detail", slug, experiment.pk)


@require_POST
def comparison_go_on(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """Start all stopped runs again; each goes on where it was."""
    return _asked(services.experiment_go_on, request, slug, experiment_id)


@require_POST
def comparison_baseline(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """Measure against another approach; an empty choice goes back to the best written prompt."""
    experiment = experiment_at(request, slug, experiment_id, write=True)
    wanted = request.POST.get("approach", "")
    approach = next((each for each in experiment.approaches.all() if str(each.pk) == wanted), None)
    if wanted and approach is None:
        raise Http404("This comparison has no such approach.")
    services.experiment_baseline_choose(experiment=experiment, by=viewer(request), approach=approach)
    return redirect("comparison-detail", slug, experiment.pk)


@require_POST
def comparison_prices(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """Reckon a comparison that has no prices with a price book of its workspace."""
    experiment = experiment_at(request, slug, experiment_id, write=True)
    wanted = request.POST.get("price_book", "")
    book = next((each for each in experiment.workspace.price_books.all() if str(each.pk) == wanted), None)
    if book is None:
        raise Http404("This workspace has no such prices.")
    return _asked(partial(services.experiment_prices_choose, book=book), request, slug, experiment_id)


@require_POST
def comparison_budget(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """Another budget for hosted models, so that runs that the old one stopped can go on."""
    experiment = experiment_at(request, slug, experiment_id, write=True)
    form = BudgetForm(request.POST)
    if not form.is_valid():
        messages.error(request, "A budget is a whole number of calls, an amount of money, or nothing. It stays as it was.")
        return redirect("comparison-detail", slug, experiment.pk)
    requests, money = form.cleaned_data["endpoint_requests"], form.cleaned_data["endpoint_money"]
    try:
        endpoint_budget_set(experiment=experiment, requests=requests, money=money, by=viewer(request))
    except UserError as error:
        messages.error(request, str(error))
    return redirect("comparison-detail", slug, experiment.pk)


@require_POST
def comparison_compute(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """Try a comparison again that could not be computed."""
    return _asked(services.comparison_retry, request, slug, experiment_id)


@require_POST
def comparison_latency(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """Time single requests once more, at a moment that a person chose."""
    return _asked(services.experiment_measure_latency, request, slug, experiment_id)


def results_of(request: HttpRequest, experiment: Experiment) -> dict[str, Any]:
    """What the page shows of the asked split: the test rows' table when nothing was asked and there is one."""
    splits = list(experiment.tables.order_by("-split").values_list("split", flat=True))  # validation, then test
    split = request.GET.get("split", "")
    if split not in splits:
        split = splits[-1] if splits else ""
    table = experiment.tables.filter(split=split).first()
    if table is None:
        return {"table": None, "splits": splits}
    payload = placed(table.payload)
    return {
        "table": table_view(payload, sort=request.GET.get("sort", ""), reverse="turn" in request.GET),
        "splits": splits,
        "computed_at": table.computed_at,
        "headline": headline(payload),
        "figures": key_figures(payload),
        "charts": [chart for chart in (quality_chart(payload), break_even_chart(payload), spent_chart(payload)) if chart],
        "confusion": confusion_view(payload, request.GET.get("confusion", "")),
    }

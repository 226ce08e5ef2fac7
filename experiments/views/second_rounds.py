"""Training on mistakes: find them among the train rows, look at them, and launch a second round."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from experiments.errors import UserError
from experiments.forms.second_rounds import OddsForm, SecondRoundForm
from experiments.models import Run
from experiments.planning.mistakes import train_evaluation
from experiments.presence import job_health
from experiments.reads.second_rounds import RoundPreview, round_preview
from experiments.services.second_rounds import mistakes_find, second_round_start
from experiments.views.runs import run_at
from experiments.views.viewer import viewer


@require_safe
def run_mistakes(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    """Before anybody has asked: what it takes. Afterwards: the rows, and what to do with them."""
    run = run_at(request, slug, run_id)
    asked = OddsForm(request.GET if "odds" in request.GET else None)
    preview = round_preview(run, asked.chosen(), viewer(request))
    form = _form(None, run, preview) if preview.mistakes else None
    return render(request, "run_mistakes.html", _context(run, preview, asked, form) | {"marked": request.GET.get("marked", "")})


@require_safe
def run_mistakes_state(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    """The polled part; the browser loads the page anew once the rows are answered."""
    run = run_at(request, slug, run_id)
    evaluation = train_evaluation(run)
    job = evaluation.job if evaluation else None
    response = render(request, "_run_mistakes_state.html", {"run": run, "job": job, "health": job_health(job)})
    if job is None or job.has_ended:
        response["HX-Refresh"] = "true"
    return response


@require_POST
def run_mistakes_find(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    run = run_at(request, slug, run_id, write=True)
    try:
        mistakes_find(run=run, by=viewer(request))
    except UserError as error:
        messages.error(request, str(error))
    return redirect("run-mistakes", slug, run.pk)


@require_POST
def second_round_create(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    run = run_at(request, slug, run_id, write=True)
    asked = OddsForm(request.POST)
    preview = round_preview(run, asked.chosen(), viewer(request))
    if preview.mistakes is None:
        messages.error(request, "The mistakes of this run have not been found yet. Find them first, then choose.")
        return redirect("run-mistakes", slug, run.pk)
    form = _form(request, run, preview)
    if form.is_valid():
        try:
            made = second_round_start(run=run, by=viewer(request), choice=form.choice(), key=f"round:{form.cleaned_data['key']}")
        except UserError as error:
            form.add_error(None, str(error))
        else:
            return redirect("comparison-detail", slug, made.pk)
    return render(request, "run_mistakes.html", _context(run, preview, asked, form))


def _form(request: HttpRequest | None, run: Run, preview: RoundPreview) -> SecondRoundForm:
    rows = [each.mistake.row for each in preview.shown]
    initial = {"odds": preview.odds, "name": f"{run.approach.name}: second round"[:120]}
    return SecondRoundForm(request.POST if request else None, rows=rows, initial=initial)


def _context(run: Run, preview: RoundPreview, asked: OddsForm, form: SecondRoundForm | None) -> dict[str, object]:
    left_out = set(form.data.getlist("left_out")) if form and form.is_bound else set()  # type: ignore[attr-defined]  # a QueryDict
    return {
        "run": run,
        "experiment": run.approach.experiment,
        "preview": preview,
        "health": job_health(preview.job),
        "asked": asked,
        "form": form,
        "left_out": {int(row) for row in left_out if row.isdigit()},
    }

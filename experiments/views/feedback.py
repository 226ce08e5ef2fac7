"""Marking an answer of a run to a train row. The page of its mistakes shows the marks."""

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from experiments.errors import UserError
from experiments.forms.feedback import FeedbackForm
from experiments.forms.second_rounds import OddsForm
from experiments.models import Run, User
from experiments.services.feedback import feedback_give, feedback_take_back
from experiments.views.runs import run_at
from experiments.views.viewer import viewer


@require_POST
def answer_mark(request: HttpRequest, slug: str, run_id: UUID, position: int) -> HttpResponse:
    """Leads back to the row; htmx takes the row out of the page that it is led to."""
    run = run_at(request, slug, run_id, write=True)
    try:
        _mark(request, run, position, viewer(request))
    except UserError as error:
        if request.headers.get("HX-Request"):
            return HttpResponse(str(error), status=422, content_type="text/plain; charset=utf-8")  # said without a new page
        messages.error(request, str(error))
    kept = {"odds": f"{OddsForm(request.POST).chosen():g}", "marked": position}
    return redirect(f"{reverse('run-mistakes', args=[slug, run.pk])}?{urlencode(kept)}#row-{position}")


def _mark(request: HttpRequest, run: Run, position: int, by: User) -> None:
    if "take_back" in request.POST:
        feedback_take_back(run=run, position=position, by=by)
        return
    form = FeedbackForm(request.POST)
    if not form.is_valid():
        raise UserError(form.problem())
    feedback_give(run=run, position=position, judgement=form.judgement(), by=by)

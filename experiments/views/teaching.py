"""A run answers train or unlabelled rows, so that other approaches can learn from it: the part of its page, and the wish."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from experiments.errors import UserError
from experiments.models import Split
from experiments.planning.teachers import TEACHABLE
from experiments.reads.teaching import teaching_view
from experiments.services.teachers import answers_start
from experiments.views.runs import run_at
from experiments.views.viewer import viewer


class AnswersForm(forms.Form):
    """Which rows are answered, train rows unless told, and how many; empty answers all."""

    split = forms.ChoiceField(required=False, choices=[(split.value, split.label) for split in TEACHABLE])
    rows = forms.IntegerField(required=False, min_value=2, max_value=10_000_000)


@require_safe
def run_teaching(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    """The part about teaching, which is asked for again while rows are answered."""
    run = run_at(request, slug, run_id)
    return render(request, "_run_teaching.html", {"run": run, "teaching": teaching_view(run)})


@require_POST
def run_teach(request: HttpRequest, slug: str, run_id: UUID) -> HttpResponse:
    run = run_at(request, slug, run_id, write=True)
    form = AnswersForm(request.POST)
    if not form.is_valid():
        messages.error(request, "The number of rows must be a whole number from 2, or empty for all train or all unlabelled rows.")
        return redirect(f"{reverse('run-detail', args=[slug, run.pk])}#teaching")
    try:
        split = Split(form.cleaned_data["split"] or Split.TRAIN)
        answers_start(run=run, by=viewer(request), split=split, num_rows=form.cleaned_data["rows"])
    except UserError as error:
        messages.error(request, str(error))
    return redirect(f"{reverse('run-detail', args=[slug, run.pk])}#teaching")

"""The learning curve of a comparison: its page, and the one click that launches it."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from experiments.access import get_experiment_for
from experiments.errors import UserError
from experiments.models import Experiment
from experiments.reads.learning_view import learning_view
from experiments.reads.live import live_state
from experiments.services.learning_curves import learning_curve_start
from experiments.views.comparisons import experiment_at
from experiments.views.viewer import viewer


@require_safe
def learning_curve_detail(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """The curve of the comparison at this address; a comparison without one leads back to its own page, where one can be drawn."""
    parent = experiment_at(request, slug, experiment_id)
    known = Experiment.objects.filter(curve_of=parent).first()
    if known is None:
        return redirect("comparison-detail", slug, parent.pk)
    curve = get_experiment_for(viewer(request), known.pk)
    view = learning_view(curve.learning_curve)
    context = {"parent": parent, "experiment": curve, "state": live_state(curve), "live_charts": [], "view": view}
    return render(request, "learning_curve.html", context)


@require_POST
def learning_curve_create(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    experiment = experiment_at(request, slug, experiment_id, write=True)
    try:
        learning_curve_start(experiment=experiment, by=viewer(request))
    except UserError as error:
        messages.error(request, str(error))
        return redirect("comparison-detail", slug, experiment.pk)
    return redirect("learning-curve", slug, experiment.pk)

"""A learning curve with answers, as workers would have left it: the more rows, the more are right."""

from experiments.models import Experiment, JobState, Run, User
from experiments.reads.learning_curves import build_learning_curve
from experiments.services.learning_curves import learning_curve_start, learning_curve_store
from tests.comparison_data import SHAPES, make_predictions, make_result
from tests.factories import make_attempt


def make_drawn_curve(experiment: Experiment, by: User | None = None) -> Experiment:
    """The curve of a finished comparison, its runs answered and its points stored."""
    curve = learning_curve_start(experiment=experiment, by=by)
    for run in Run.objects.filter(approach__experiment=curve).select_related("approach__point_of", "approach__experiment", "job"):
        source = next(shape for shape in SHAPES if shape[1] == run.approach.point_of.name)
        shape = (*source[:2], source[2] * (0.4 if run.approach.train_rows == 16 else 0.8), *source[3:])
        run.job.state = JobState.SUCCEEDED
        run.job.save(update_fields=["state"])
        Run.objects.filter(pk=run.pk).update(result=make_result(shape, run.seed))
        run.evaluations.all().delete()  # the launch's own, which has no answers yet
        make_predictions(run, shape, "validation", run.job, make_attempt(run.job, outcome="succeeded"))
    learning_curve_store(curve=curve, payload=build_learning_curve(curve))
    curve.refresh_from_db()
    return curve

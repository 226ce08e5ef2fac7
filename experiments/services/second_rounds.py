"""Finding the mistakes of a tuned prompt among its train rows, and launching a second round on them. Knows no request."""

from experiments.errors import UserError
from experiments.models import Artifact, Evaluation, Experiment, Run, User
from experiments.planning.mistakes import mistakes_of, train_evaluation
from experiments.planning.second_rounds import RoundChoice, round_plan
from experiments.services.launches import experiment_start
from experiments.services.teachers import answers_start


def mistakes_find(*, run: Run, by: User | None) -> Evaluation:
    """Have a run answer its train rows, once; what failed or was stopped starts again. Test rows are not touched.

    Raises:
        UserError: the run has left no tuned prompt, or there are no train rows.
    """
    if not Artifact.objects.filter(run=run).exists():
        raise UserError(
            "This run has left no tuned prompt to look at. Only tuned approaches that have succeeded have mistakes to learn from."
        )
    if run.approach.train_rows is not None:
        raise UserError("This run is a point of a learning curve and learned from few rows. Take a run of the comparison itself.")
    return answers_start(run=run, by=by)


def second_round_start(*, run: Run, by: User | None, choice: RoundChoice, key: str) -> Experiment:
    """Launch the second round as a comparison of its own. The same key gives the same comparison.

    Raises:
        UserError: the mistakes have not been found yet, or the choice makes no sense.
        CannotLaunch: something stands against the comparison.
    """
    evaluation = train_evaluation(run)
    if evaluation is None or evaluation.completed_at is None:
        raise UserError("The mistakes of this run have not been found yet. Find them first, then choose.")
    artifact = Artifact.objects.select_related("run__approach__experiment", "run__approach__backbone").get(run=run)
    plan = round_plan(artifact.run, artifact, mistakes_of(evaluation, choice.odds), choice)
    return experiment_start(workspace=run.approach.experiment.workspace, by=by, plan=plan, key=key)

"""A comparison is stored and launched: its approaches, runs and jobs are written. Knows no request, and nothing of how jobs end."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from experiments.catalogue.recipes import recipe_options, split_teaching, teaching_defaults
from experiments.errors import UserError
from experiments.models import Approach, Evaluation, Experiment, Focus, JobKind, Run, Split, User, Workspace
from experiments.models.comparisons import Family
from experiments.models.datasets import Task
from experiments.planning.checks import plan_problems
from experiments.planning.plans import ApproachPlan, ExperimentPlan, FocusPlan
from experiments.planning.teachers import Teacher
from experiments.services.audit import audit_record
from experiments.services.experiment_jobs import experiment_locked, queue_of
from experiments.services.job_queue import job_create


class CannotLaunch(UserError):
    """Something stands against the launch; `problems` holds a sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(" ".join(problems))


class LaunchKeyTaken(UserError):
    """The key has launched another comparison of the workspace."""

    status = 409

    def __init__(self, known: Experiment) -> None:
        self.known = known
        super().__init__(
            f"This Idempotency-Key has launched another comparison: “{known.name}” ({known.pk}). Give every comparison a key of its own."
        )


def experiment_start(*, workspace: Workspace, by: User | None, plan: ExperimentPlan, key: str) -> Experiment:
    """Store and launch in one step. The same key gives the same comparison, however often it is sent.

    Raises:
        CannotLaunch: the plan has problems; nothing is stored.
    """
    try:
        with transaction.atomic():
            known = experiment_started(workspace=workspace, key=key)
            return known or experiment_launch(experiment=experiment_create(workspace=workspace, by=by, plan=plan), by=by, key=key)
    except LaunchKeyTaken as error:
        # The same launch, sent twice at once: the other request won, and its comparison is the answer to both.
        return error.known


def experiment_started(*, workspace: Workspace, key: str) -> Experiment | None:
    """The comparison that this key has launched."""
    return Experiment.objects.filter(workspace=workspace, launch_key=key).first()


def experiment_create(*, workspace: Workspace, by: User | None, plan: ExperimentPlan) -> Experiment:
    """Store a comparison and its approaches, every option written out. Nothing runs yet.

    Raises:
        CannotLaunch: the plan has problems; nothing is stored.
    """
    problems = plan_problems(plan)
    if problems:
        raise CannotLaunch(problems)
    with transaction.atomic():
        experiment = Experiment.objects.create(
            workspace=workspace,
            name=plan.name,
            description=plan.description,
            dataset_version=plan.dataset_version,
            price_book=plan.price_book,
            seeds=list(plan.seeds),
            configurations=plan.configurations,
            too_long=plan.too_long,
            truncate_column=plan.truncate_column,
            margin=plan.margin,
            monthly_requests=plan.monthly_requests,
            endpoint_requests=plan.endpoint_requests,
            endpoint_money=plan.endpoint_money,
            open_test_when_finished=plan.open_test_when_finished,
            curve_when_finished=plan.curve_when_finished,
            generation=plan.generation.to_json() if plan.dataset_version.task == Task.EXTRACTION else {},
            created_by=by,
        )
        made = [(_approach(experiment, position, planned), planned.focus) for position, planned in enumerate(plan.approaches)]
        Approach.objects.bulk_create(approach for approach, _ in made)
        Focus.objects.bulk_create(_focus(approach, focus) for approach, focus in made if focus)
        audit_record(by=by, verb="created", target=experiment, workspace=workspace)
    return experiment


def _approach(experiment: Experiment, position: int, planned: ApproachPlan) -> Approach:
    options, teaching = split_teaching(recipe_options(planned.recipe, planned.options, planned.backbone.facts))
    teacher = planned.teacher or Teacher()
    return Approach(
        experiment=experiment,
        position=position,
        name=planned.shown_name,
        family=planned.family,
        method=planned.kind.method,
        recipe=options,
        backbone=planned.backbone,
        template_version=planned.template_version,
        start_artifact=planned.start,
        teacher_version=teacher.version,
        teacher_evaluation=teacher.evaluation,
        teaching=(teaching or teaching_defaults()) if planned.teacher else {},
    )


def _focus(approach: Approach, planned: FocusPlan) -> Focus:
    rows, left_out = list(planned.rows), list(planned.left_out)
    return Focus(approach=approach, run=planned.run, times=planned.times, odds=planned.odds, rows=rows, left_out=left_out)


def experiment_launch(*, experiment: Experiment, by: User | None, key: str) -> Experiment:
    """Write every Run, its validation Evaluation and its Job. A launched comparison is returned as it is.

    Raises:
        LaunchKeyTaken: nothing is launched.
    """
    try:
        return _launch(experiment, by, key)
    except IntegrityError as error:
        known = experiment_started(workspace=experiment.workspace, key=key)
        if known is None:
            raise
        raise LaunchKeyTaken(known) from error


def _launch(experiment: Experiment, by: User | None, key: str) -> Experiment:
    with transaction.atomic():
        experiment = experiment_locked(experiment)
        if experiment.launched_at:
            return experiment
        for approach in experiment.approaches.all():
            for seed in _seeds_of(approach, experiment):
                _run_create(approach, seed, by)
        experiment.launched_at, experiment.launch_key = timezone.now(), key
        experiment.save(update_fields=["launched_at", "launch_key"])
        audit_record(by=by, verb="launched", target=experiment, workspace=experiment.workspace)
    return experiment


def _seeds_of(approach: Approach, experiment: Experiment) -> list[int]:
    """A seed trains a tuned approach; in a learning curve it also draws the rows, whatever learns from them."""
    is_seeded = approach.family in (Family.TUNED, Family.HYBRID) or approach.train_rows is not None
    return list(experiment.seeds) or [0] if is_seeded else [0]


def _run_create(approach: Approach, seed: int, by: User | None) -> Run:
    run = Run(approach=approach, seed=seed)
    workspace = approach.experiment.workspace
    run.job = job_create(workspace=workspace, kind=JobKind.RUN, queue=queue_of(approach), payload={"run": str(run.pk)}, by=by)
    run.save()
    version = approach.experiment.dataset_version
    Evaluation.objects.create(run=run, dataset_version=version, split=Split.VALIDATION, job=run.job)
    return run

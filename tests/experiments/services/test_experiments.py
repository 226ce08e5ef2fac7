"""A comparison is launched once, advances when its jobs end, opens its test set once, and keeps what succeeded."""

from functools import partial
from typing import Any

import pytest

from experiments.catalogue.recipes import PACK
from experiments.errors import UserError
from experiments.models import AuditEntry, Evaluation, Experiment, Job, JobKind, JobState, Run, Split, TestOpening
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.plans import ExperimentPlan
from experiments.services import advances, launches
from experiments.services import experiments as services
from experiments.services.experiment_jobs import open_jobs
from experiments.services.leases import job_claim, lease_finish
from experiments.services.results import latency_commit
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_plan(workspace):
    def build(recipes=PACK, **overrides):
        version = overrides.pop("dataset_version", None) or factories.make_dataset_version(workspace)
        templates = overrides.pop("templates", None) or [factories.make_template_version(workspace)]
        choice = Choice(version, recipes, templates, factories.make_backbone(workspace), options=overrides.pop("options", {}))
        approaches, _ = approaches_expand(choice=choice)
        values: dict[str, Any] = {"name": "Which prompt?", "dataset_version": version, "approaches": approaches}
        return ExperimentPlan(**(values | overrides))

    return build


def launch(workspace, by, plan, key="key-1"):
    return launches.experiment_start(workspace=workspace, by=by, plan=plan, key=key)


def end_all(experiment, kind, state=JobState.SUCCEEDED):
    open_jobs(experiment).filter(kind=kind).update(state=state)
    advances.experiment_advance(experiment=experiment)


def compare_jobs(split=None):
    jobs = Job.objects.filter(kind=JobKind.COMPARE)
    return jobs.filter(payload__split=split) if split else jobs


def latency_jobs():
    return Job.objects.filter(kind=JobKind.LATENCY)


def test_launch_writes_runs_validation_evaluations_and_jobs(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan(seeds=(0, 1, 2)))

    names = list(experiment.approaches.values_list("name", flat=True))
    assert names[:4] == ["Zero-shot: Careful v1", "Soft prompt", "Hybrid", "LoRA"]
    assert len(names) == 8
    assert Run.objects.filter(approach__experiment=experiment).count() == 5 + 3 * 3
    assert Evaluation.objects.filter(split=Split.VALIDATION).count() == 14
    assert Job.objects.filter(kind=JobKind.RUN, queue="gpu", state=JobState.QUEUED).count() == 14
    assert AuditEntry.objects.filter(verb="launched", actor=alice).count() == 1


def test_options_are_stored_with_every_default_written_out(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan(options={"lora": {"rank": "4"}}))

    recipe = experiment.approaches.get(method="lora").recipe
    assert recipe["rank"] == 4
    assert recipe["max_steps"] == 250
    assert experiment.approaches.get(name="Soft prompt").recipe["template_text"] == "replaced"
    assert experiment.approaches.get(name="Hybrid").recipe["template_text"] == "kept"


def test_a_launch_sent_twice_gives_one_experiment(workspace, alice, make_plan):
    plan = make_plan()

    first, second = launch(workspace, alice, plan), launch(workspace, alice, plan)

    assert first.pk == second.pk
    assert Experiment.objects.count() == 1
    assert Run.objects.count() == 5 + 3 * 2


def test_a_plan_with_problems_stores_nothing(workspace, alice, make_plan):
    rows = [row for row in factories.ROWS if row[0] != "validation"]
    plan = make_plan(dataset_version=factories.make_dataset_version(workspace, rows))

    with pytest.raises(launches.CannotLaunch, match="has no validation rows"):
        launch(workspace, alice, plan)

    assert Experiment.objects.count() == 0


def test_nothing_advances_while_a_run_goes_on(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())
    Job.objects.filter(pk__in=Job.objects.filter(kind=JobKind.RUN)[1:].values("pk")).update(state=JobState.SUCCEEDED)

    advances.experiment_advance(experiment=experiment)

    assert not compare_jobs().exists()


def test_comparison_is_queued_once_when_all_runs_have_ended(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())

    end_all(experiment, JobKind.RUN)
    advances.experiment_advance(experiment=experiment)

    assert compare_jobs("validation").count() == 1
    assert not TestOpening.objects.exists()


def test_single_requests_are_timed_when_all_else_has_ended_and_then_comes_the_end(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan(open_test_when_finished=True))

    end_all(experiment, JobKind.RUN)
    end_all(experiment, JobKind.EVALUATE)
    assert not latency_jobs().exists()
    end_all(experiment, JobKind.COMPARE)
    assert latency_jobs().count() == 1
    experiment.refresh_from_db()
    assert not experiment.finished_at
    end_all(experiment, JobKind.LATENCY)

    experiment.refresh_from_db()
    assert experiment.finished_at
    assert latency_jobs().count() == 1


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.QUARANTINED])
def test_a_comparison_that_cannot_be_computed_ends_the_experiment_and_can_be_tried_again(workspace, alice, make_plan, state):
    experiment = launch(workspace, alice, make_plan())
    end_all(experiment, JobKind.RUN)
    lease = job_claim(job_id=compare_jobs().get().pk, worker="w")
    assert lease is not None

    lease_finish(lease=lease, state=state, error="The disk is full.")
    end_all(experiment, JobKind.LATENCY)

    experiment.refresh_from_db()
    assert experiment.finished_at is not None
    services.comparison_retry(experiment=experiment, by=alice)
    experiment.refresh_from_db()
    assert experiment.finished_at is None
    assert compare_jobs().get().state == JobState.QUEUED


def test_a_latency_pass_that_fails_ends_the_experiment_all_the_same(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())
    end_all(experiment, JobKind.RUN)
    end_all(experiment, JobKind.COMPARE)
    lease = job_claim(job_id=latency_jobs().get().pk, worker="w")
    assert lease is not None

    lease_finish(lease=lease, state=JobState.FAILED, error="The model is gone.")

    experiment.refresh_from_db()
    assert experiment.finished_at is not None


def test_latency_is_measured_again_on_request_and_once_at_a_time(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())
    with pytest.raises(UserError, match="goes on"):
        services.experiment_measure_latency(experiment=experiment, by=alice)
    for kind in (JobKind.RUN, JobKind.COMPARE, JobKind.LATENCY):
        end_all(experiment, kind)
    ended = Experiment.objects.get(pk=experiment.pk).finished_at

    first = services.experiment_measure_latency(experiment=experiment, by=alice)
    second = services.experiment_measure_latency(experiment=experiment, by=alice)
    end_all(experiment, JobKind.LATENCY)

    assert first == second
    assert latency_jobs().count() == 2
    assert Experiment.objects.get(pk=experiment.pk).finished_at == ended


def test_figures_of_a_pass_stand_in_the_tables_and_in_later_ones(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())
    end_all(experiment, JobKind.RUN)
    approach = str(experiment.approaches.first().pk)
    store = partial(services.comparison_store, experiment=experiment, payload={"rows": [{"approach": approach}]}, job=None)
    store(split="validation")
    end_all(experiment, JobKind.COMPARE)
    lease = job_claim(job_id=latency_jobs().get().pk, worker="w")
    assert lease is not None

    latency_commit(lease=lease, report={"approaches": {approach: {"p50_ms": 7.0}}, "requests": 200})
    store(split="test")

    assert Job.objects.get(pk=lease.job_id).state == JobState.SUCCEEDED
    for table in experiment.tables.all():
        assert table.payload["rows"] == [{"approach": approach, "latency": {"p50_ms": 7.0}}]
        assert table.payload["latency"]["requests"] == 200


def test_stopping_the_work_takes_no_time_of_single_requests(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())
    done = Job.objects.filter(kind=JobKind.RUN).first()
    assert done is not None
    Job.objects.filter(pk=done.pk).update(state=JobState.SUCCEEDED)
    services.experiment_cancel(experiment=experiment, by=alice)

    end_all(experiment, JobKind.COMPARE)

    experiment.refresh_from_db()
    assert experiment.finished_at is not None
    assert not latency_jobs().exists()


def test_test_set_opens_by_itself_when_asked_to(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan(open_test_when_finished=True))

    end_all(experiment, JobKind.RUN)

    opening = TestOpening.objects.get(experiment=experiment)
    assert opening.opened_by is None
    assert Job.objects.filter(kind=JobKind.EVALUATE, state=JobState.QUEUED).count() == 11
    assert not compare_jobs("test").exists()
    end_all(experiment, JobKind.EVALUATE)
    assert compare_jobs("test").count() == 1


def test_the_table_of_validation_rows_is_computed_again_once_test_rows_are_scored_for_their_passes_count_there(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan(open_test_when_finished=True))

    end_all(experiment, JobKind.RUN)
    assert compare_jobs("validation").count() == 1
    end_all(experiment, JobKind.EVALUATE)
    advances.experiment_advance(experiment=experiment)

    assert compare_jobs("validation").count() == 2


def test_opening_the_test_set_twice_counts_once(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())
    end_all(experiment, JobKind.RUN)
    compare_jobs().update(state=JobState.SUCCEEDED)

    first = advances.experiment_open_test(experiment=experiment, by=alice)
    second = advances.experiment_open_test(experiment=experiment, by=alice)

    assert first.pk == second.pk
    assert Evaluation.objects.filter(split=Split.TEST).count() == 11
    assert AuditEntry.objects.filter(verb="opened the test set of").count() == 1


def test_test_set_stays_closed_while_runs_go_on(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())

    with pytest.raises(UserError, match="Runs still go on"):
        advances.experiment_open_test(experiment=experiment, by=alice)


def test_cancelling_keeps_what_succeeded_and_leaves_the_test_set_closed(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan(open_test_when_finished=True))
    done = Job.objects.filter(kind=JobKind.RUN).first()
    assert done is not None
    Job.objects.filter(pk=done.pk).update(state=JobState.SUCCEEDED)

    stopped = services.experiment_cancel(experiment=experiment, by=alice)

    assert stopped == 10
    assert Job.objects.filter(kind=JobKind.RUN, state=JobState.CANCELLED).count() == 10
    assert compare_jobs("validation").count() == 1
    assert not TestOpening.objects.exists()


def test_an_experiment_whose_runs_all_failed_ends_without_a_comparison(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())

    end_all(experiment, JobKind.RUN, JobState.FAILED)

    experiment.refresh_from_db()
    assert experiment.finished_at is not None
    assert not compare_jobs().exists()


def test_a_failed_run_can_be_tried_again_and_is_compared_anew(workspace, alice, make_plan):
    experiment = launch(workspace, alice, make_plan())
    failed = Run.objects.filter(approach__experiment=experiment).first()
    assert failed is not None
    Job.objects.filter(pk=failed.job_id).update(state=JobState.FAILED, fence=1)
    end_all(experiment, JobKind.RUN)
    assert compare_jobs().count() == 1

    services.run_retry(run=Run.objects.get(pk=failed.pk), by=alice)
    Job.objects.filter(pk=failed.job_id).update(state=JobState.SUCCEEDED, fence=2)
    advances.experiment_advance(experiment=experiment)

    assert compare_jobs().count() == 2


def test_a_run_that_goes_on_cannot_be_started_again(workspace, alice, make_plan):
    launch(workspace, alice, make_plan())
    run = Run.objects.first()
    assert run is not None

    with pytest.raises(UserError, match="neither failed nor been stopped"):
        services.run_retry(run=run, by=alice)

"""A learning curve is launched once, on train rows below all of them, never opens the test set, and goes with its comparison."""

import pytest
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import Artifact, Evaluation, Experiment, Job, JobKind, JobState, Run
from experiments.planning.curves import curve_plan
from experiments.reads.learning_curves import build_learning_curve
from experiments.services import advances
from experiments.services import experiments as services
from experiments.services.learning_curves import learning_curve_follow, learning_curve_start, learning_curve_store
from experiments.services.removals import experiment_delete
from tests.comparison_data import make_finished_experiment

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, num_validation=12))


@pytest.fixture
def finished(made) -> Experiment:
    return Experiment.objects.get(pk=made.pk)


def end_runs(curve: Experiment, state: JobState = JobState.SUCCEEDED) -> None:
    Job.objects.filter(run__approach__experiment=curve).update(state=state)
    advances.experiment_advance(experiment=curve)


def test_curve_makes_what_learns_on_fewer_rows_with_every_seed(finished, alice):
    curve = learning_curve_start(experiment=finished, by=alice)

    points = {(each.point_of.name, each.train_rows) for each in curve.approaches.all()}
    assert points == {
        (name, 16) for name in ("Soft prompt", "Hybrid", "LoRA", "TF-IDF + logistic regression", "Linear probe")
    }  # 60 train rows: the next size would be more than all
    runs = Run.objects.filter(approach__experiment=curve)
    assert set(runs.values_list("seed", flat=True)) == {0, 1}
    assert runs.count() == 10
    assert set(Evaluation.objects.filter(run__in=runs).values_list("split", flat=True)) == {"validation"}


def test_point_takes_over_everything_but_the_rows(finished, alice):
    source = finished.approaches.get(name="LoRA")

    point = learning_curve_start(experiment=finished, by=alice).approaches.get(point_of=source)

    assert point.recipe == source.recipe
    assert (point.method, point.backbone, point.template_version) == (source.method, source.backbone, source.template_version)
    assert point.name == "LoRA, 16 rows"


def test_approach_on_an_endpoint_gets_no_curve_because_each_point_would_be_billed(finished):
    finished.approaches.filter(name="LoRA").update(family="hosted")

    plan = curve_plan(finished)

    assert "LoRA" not in {approach.name for approach in plan.learners}
    assert "LoRA: left out, because the endpoint would bill every row of every point." in plan.notes


def test_second_launch_gives_the_curve_that_is_there(finished, alice):
    first = learning_curve_start(experiment=finished, by=alice)

    assert learning_curve_start(experiment=finished, by=alice) == first
    assert Experiment.objects.filter(curve_of=finished).count() == 1


def test_comparison_that_goes_on_has_no_curve_yet(finished, alice):
    Experiment.objects.filter(pk=finished.pk).update(finished_at=None)

    with pytest.raises(UserError, match="has not ended yet"):
        learning_curve_start(experiment=finished, by=alice)


def test_curve_of_a_curve_is_refused(finished, alice):
    curve = learning_curve_start(experiment=finished, by=alice)
    end_runs(curve)

    with pytest.raises(UserError, match="a learning curve itself"):
        learning_curve_start(experiment=curve, by=alice)


def test_approach_that_starts_from_rows_of_the_same_data_gets_no_curve(finished, alice):
    lora = finished.approaches.get(name="LoRA")
    lora.start_artifact = Artifact.objects.filter(run__approach=lora).first()
    lora.save(update_fields=["start_artifact"])

    curve = learning_curve_start(experiment=finished, by=alice)

    assert not curve.approaches.filter(point_of=lora).exists()


def test_ended_curve_is_computed_without_latency_pass_or_test_set(finished, alice):
    curve = learning_curve_start(experiment=finished, by=alice)
    Experiment.objects.filter(pk=curve.pk).update(open_test_when_finished=False)

    end_runs(curve)

    assert Job.objects.filter(kind=JobKind.COMPARE, payload__experiment=str(curve.pk)).count() == 1
    assert not Job.objects.filter(kind=JobKind.LATENCY, payload__experiment=str(curve.pk)).exists()
    with pytest.raises(UserError, match="drawn on validation rows"):
        advances.experiment_open_test(experiment=curve, by=alice)


def test_stopped_curve_stays_and_goes_on_run_by_run(finished, alice):
    curve = learning_curve_start(experiment=finished, by=alice)

    services.experiment_cancel(experiment=curve, by=alice)
    run = Run.objects.filter(approach__experiment=curve)[0]
    services.run_retry(run=run, by=alice)

    assert learning_curve_start(experiment=finished, by=alice) == curve
    assert Job.objects.get(run=run).state == JobState.QUEUED


def test_curve_that_was_asked_for_follows_once(finished):
    Experiment.objects.filter(pk=finished.pk).update(curve_when_finished=True, finished_at=None)
    for ended in (None, timezone.now(), timezone.now()):
        Experiment.objects.filter(pk=finished.pk).update(finished_at=ended)
        learning_curve_follow(experiment=Experiment.objects.get(pk=finished.pk))

    assert Experiment.objects.filter(curve_of=finished).count() == 1
    finished.refresh_from_db()
    assert not finished.curve_when_finished


def test_curve_is_deleted_with_its_comparison(finished, alice):
    curve = learning_curve_start(experiment=finished, by=alice)
    with pytest.raises(UserError, match="learning curve is still running"):
        experiment_delete(experiment=finished, by=alice)
    end_runs(curve, JobState.CANCELLED)
    Experiment.objects.filter(pk=curve.pk).update(finished_at=timezone.now())

    experiment_delete(experiment=finished, by=alice)

    assert not Experiment.objects.exists()
    assert not Job.objects.filter(run__isnull=False).exists()


def test_curve_without_an_answer_says_so(finished, alice):
    curve = learning_curve_start(experiment=finished, by=alice)

    with pytest.raises(UserError, match="nothing to draw"):
        build_learning_curve(curve)


def test_stored_points_replace_older_ones(finished, alice):
    curve = learning_curve_start(experiment=finished, by=alice)
    for n in (1, 2):
        learning_curve_store(curve=curve, payload={"n": n})

    curve.refresh_from_db()
    assert curve.learning_curve == {"n": 2}

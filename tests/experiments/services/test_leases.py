"""A worker's hold on a job. Leases are made to run out by a negative lease length: the database's clock cannot be moved."""

import pytest
from django.test import override_settings

from experiments.database_clock import from_now
from experiments.models import Attempt, Evaluation, Job, JobState, Prediction, Workspace
from experiments.services.jobs import job_cancel
from experiments.services.leases import (
    Lease,
    LeaseLost,
    job_claim,
    lease_crash,
    lease_expire,
    lease_finish,
    lease_is_cancelled,
    lease_record,
    lease_release,
    lease_renew,
)
from experiments.services.results import EvaluationSummary, predictions_store, run_commit
from tests.factories import make_approach, make_evaluation, make_experiment, make_job, make_run

pytestmark = pytest.mark.django_db
EXPIRED = override_settings(JOB_LEASE_SECONDS=-1.0)


def claim(job: Job, worker: str = "first") -> Lease:
    lease = job_claim(job_id=job.pk, worker=worker)
    assert lease is not None
    return lease


def inspect_job(workspace: Workspace, **overrides) -> Job:
    return make_job(workspace, **{"kind": "inspect", "queue": "interactive", "payload": {"backbone": "b"}} | overrides)


@pytest.fixture
def evaluation(workspace) -> Evaluation:
    run = make_run(make_approach(make_experiment(workspace)))
    run.job.payload = {"run": str(run.pk)}
    run.job.save()
    return make_evaluation(run)


def answers(evaluation: Evaluation, correct: bool = True) -> list[Prediction]:
    rows = evaluation.dataset_version.examples.filter(split=evaluation.split)
    return [Prediction(example=row, predicted=row.label if correct else "nonsense", correct=correct) for row in rows]


def commit(lease: Lease, evaluation: Evaluation) -> None:
    done = [EvaluationSummary(evaluation, {"n": 2})]
    run_commit(lease=lease, evaluations=done, result={"state": "succeeded"}, artifact=None, peak_memory_bytes=1)


def test_claim_takes_the_job_and_opens_an_attempt(workspace):
    job = inspect_job(workspace)

    lease = claim(job)

    job.refresh_from_db()
    assert (job.state, job.fence, job.num_attempts, job.worker) == (JobState.RUNNING, 1, 1, "first")
    assert Attempt.objects.get(pk=lease.attempt_id).fence == 1


def test_claimed_job_is_not_claimed_again(workspace):
    job = inspect_job(workspace)
    claim(job)

    assert job_claim(job_id=job.pk, worker="second") is None
    assert Attempt.objects.count() == 1


@pytest.mark.parametrize("state", JobState.terminal())
def test_ended_job_is_not_claimed(workspace, state):
    assert job_claim(job_id=inspect_job(workspace, state=state).pk, worker="w") is None


def test_job_before_its_time_is_not_claimed(workspace):
    job = inspect_job(workspace, not_before=None)
    Job.objects.update(not_before=from_now(60))
    assert job_claim(job_id=job.pk, worker="w") is None

    Job.objects.update(not_before=from_now(-1))

    assert job_claim(job_id=job.pk, worker="w") is not None


def test_renewal_extends_the_lease_and_tells_of_a_cancel(workspace, alice):
    job = inspect_job(workspace)
    lease = claim(job)
    assert lease_renew(lease=lease) is False

    job_cancel(job=job, by=alice)

    assert lease_is_cancelled(lease=lease) is True
    assert lease_renew(lease=lease) is True


def test_live_lease_is_not_expired(workspace):
    job = inspect_job(workspace)
    claim(job)

    assert lease_expire(job_id=job.pk) is False


def test_expired_job_is_queued_again_and_counted(workspace):
    job = inspect_job(workspace)
    with EXPIRED:
        claim(job)

    assert lease_expire(job_id=job.pk) is True

    job.refresh_from_db()
    assert (job.state, job.num_crashes, job.crashes_without_progress, job.worker) == (JobState.QUEUED, 1, 1, "")
    assert job.dispatched_at is None
    assert Attempt.objects.get().outcome == "lost"


def test_stale_worker_can_do_nothing(workspace):
    job = inspect_job(workspace)
    with EXPIRED:
        stale = claim(job)
    lease_expire(job_id=job.pk)
    fresh = claim(job, "second")

    for write in (
        lambda: lease_renew(lease=stale),
        lambda: lease_record(lease=stale, progress={"step": 9}),
        lambda: lease_finish(lease=stale, state=JobState.SUCCEEDED),
    ):
        with pytest.raises(LeaseLost):
            write()
    lease_crash(lease=stale, detail="late")
    lease_release(lease=stale)

    job.refresh_from_db()
    assert (job.state, job.fence, job.progress, job.num_crashes) == (JobState.RUNNING, fresh.fence, {}, 1)


def test_stale_worker_cannot_write_results(evaluation):
    with EXPIRED:
        stale = claim(evaluation.job)
        predictions_store(lease=stale, evaluation=evaluation, predictions=answers(evaluation, correct=False))
    lease_expire(job_id=evaluation.job_id)
    fresh = claim(evaluation.job, "second")

    with pytest.raises(LeaseLost):
        predictions_store(lease=stale, evaluation=evaluation, predictions=answers(evaluation))
    with pytest.raises(LeaseLost):
        commit(stale, evaluation)

    assert not Prediction.objects.exists()
    assert lease_renew(lease=fresh) is False


def test_score_comes_from_the_winning_attempt_alone(evaluation):
    with EXPIRED:
        lost = claim(evaluation.job)
        predictions_store(lease=lost, evaluation=evaluation, predictions=answers(evaluation, correct=False))
    lease_expire(job_id=evaluation.job_id)
    winner = claim(evaluation.job, "second")
    predictions_store(lease=winner, evaluation=evaluation, predictions=answers(evaluation))

    commit(winner, evaluation)

    evaluation.refresh_from_db()
    assert evaluation.attempt_id == winner.attempt_id
    assert set(Prediction.objects.values_list("attempt", flat=True)) == {winner.attempt_id}
    accuracy = evaluation.scores.get(metric="accuracy")
    assert (accuracy.value, accuracy.n) == (1.0, 2)
    assert evaluation.job.__class__.objects.get(pk=evaluation.job_id).state == JobState.SUCCEEDED


@pytest.mark.parametrize("state", JobState.terminal())
def test_terminal_state_never_changes(workspace, state):
    job = inspect_job(workspace)
    with EXPIRED:
        lease = claim(job)
    lease_finish(lease=lease, state=state)

    lease_crash(lease=lease, detail="late")
    lease_release(lease=lease)
    assert lease_expire(job_id=job.pk) is False
    with pytest.raises(LeaseLost):
        lease_finish(lease=lease, state=JobState.SUCCEEDED)

    assert Job.objects.get().state == state


def test_poisonous_job_is_set_aside_after_three_crashes_without_progress(workspace):
    job = inspect_job(workspace)
    for _ in range(3):
        Job.objects.update(not_before=None)
        lease_crash(lease=claim(job), detail="Segmentation fault")

    job.refresh_from_db()
    assert (job.state, job.num_crashes) == (JobState.QUARANTINED, 3)
    assert "set aside" in job.error
    assert job.error_detail == "Segmentation fault"
    assert job.finished_at is not None


def test_job_that_gets_further_each_time_is_not_set_aside_before_ten_crashes(workspace):
    job = inspect_job(workspace)
    for step in range(1, 11):
        Job.objects.update(not_before=None)
        lease = claim(job)
        lease_record(lease=lease, progress={"phase": "training", "step": step, "rows": 0})
        job.refresh_from_db()
        assert job.crashes_without_progress == 0
        lease_crash(lease=lease, detail="killed")

    job.refresh_from_db()
    assert (job.state, job.num_crashes) == (JobState.QUARANTINED, 10)


def test_reaching_the_same_step_again_is_no_progress(workspace):
    job = inspect_job(workspace)
    for _ in range(4):
        Job.objects.update(not_before=None)
        lease = job_claim(job_id=job.pk, worker="w")
        if lease is None:
            break
        lease_record(lease=lease, progress={"phase": "training", "step": 5, "rows": 0})
        lease_crash(lease=lease, detail="killed")

    job.refresh_from_db()
    assert (job.state, job.num_crashes) == (JobState.QUARANTINED, 3)


def test_pause_grows_with_the_crashes(workspace):
    job = inspect_job(workspace)
    lease_crash(lease=claim(job), detail="one")
    lease_crash(lease=claim(job), detail="two")

    assert job_claim(job_id=job.pk, worker="w") is None


def test_cancelled_job_of_a_dead_worker_ends(workspace, alice):
    job = inspect_job(workspace)
    with EXPIRED:
        claim(job)
    job_cancel(job=job, by=alice)

    lease_expire(job_id=job.pk)

    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert job.finished_at is not None


def test_leaving_worker_gives_the_job_back_without_a_crash(workspace):
    job = inspect_job(workspace)

    lease_release(lease=claim(job))

    job.refresh_from_db()
    assert (job.state, job.num_crashes) == (JobState.QUEUED, 0)
    assert Attempt.objects.get().outcome == "requeued"


def test_failure_of_a_data_job_stands_on_the_version(workspace, evaluation):
    version = evaluation.dataset_version
    job = make_job(workspace, kind="import", queue="io", payload={"dataset_version": str(version.pk)})
    version.job = job
    version.save()

    lease_finish(lease=claim(job), state=JobState.FAILED, error_kind="refused", error="Row 3 has no label.")

    version.refresh_from_db()
    assert version.problem == "Row 3 has no label."


def test_end_of_the_last_run_queues_the_comparison(evaluation):
    experiment = evaluation.run.approach.experiment
    experiment.launched_at = experiment.created_at
    experiment.save()
    lease = claim(evaluation.job)
    predictions_store(lease=lease, evaluation=evaluation, predictions=answers(evaluation))

    commit(lease, evaluation)

    assert Job.objects.get(kind="compare").payload == {"experiment": str(experiment.pk), "split": "validation"}

"""One claimed job to its end, with a scripted engine host: what each way out leaves in the rows."""

import errno
import sys
from pathlib import Path

import pytest
from celery.worker import state as celery_state

from experiments.models import Artifact, Backbone, DatasetVersion, Evaluation, Job, JobState, Prediction, Preview, Run
from experiments.services.jobs import job_retry
from experiments.services.leases import job_claim, lease_release
from tests.factories import make_approach, make_backbone, make_evaluation, make_experiment, make_job, make_run, make_template_version
from workers.inputs import split_file
from workers.perform import slot
from workers.tasks import execute_job

pytestmark = pytest.mark.django_db
FAKE_HOST = Path(__file__).with_name("fake_host.py")


@pytest.fixture
def engine(settings, tmp_path):
    """Chooses how the engine host behaves; the last one is ended with the test."""
    settings.ATTEMPTS_DIR = tmp_path / "attempts"

    def behave(how: str, seconds: float = 0.0) -> None:
        slot().close()
        slot.cache_clear()
        settings.ENGINE_HOST_COMMAND = [sys.executable, str(FAKE_HOST), how, str(seconds)]

    behave("work")
    yield behave
    behave("work")


@pytest.fixture
def make_run_job(workspace):
    """A run with its validation evaluation and a queued job."""

    def make(**overrides) -> Run:
        backbone = overrides.pop("backbone", None) or make_backbone(name=f"Model {Backbone.objects.count()}")
        template = make_template_version(workspace, name=f"Prompt {Backbone.objects.count()}")
        version = {"dataset_version": DatasetVersion.objects.first()} if DatasetVersion.objects.exists() else {}
        approach = make_approach(make_experiment(workspace, **version), backbone=backbone, template_version=template, **overrides)
        run = make_run(approach)
        Job.objects.filter(pk=run.job_id).update(payload={"run": str(run.pk)})
        make_evaluation(run)
        return run

    return make


def do(job: Job) -> Job:
    execute_job(str(job.pk))
    job.refresh_from_db()
    return job


def evaluate_job(run: Run, split: str = "test") -> Job:
    evaluation = Evaluation(run=run, dataset_version=run.approach.experiment.dataset_version, split=split)
    job = make_job(run.approach.experiment.workspace, kind="evaluate", payload={"evaluation": str(evaluation.pk)})
    evaluation.job = job
    evaluation.save()
    return job


def test_run_ends_with_predictions_scores_and_record(engine, make_run_job):
    run = make_run_job()

    job = do(run.job)

    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    evaluation = run.evaluations.get()
    assert evaluation.predictions.count() == 2
    assert {score.metric: score.value for score in evaluation.scores.all()} == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    assert evaluation.summary["n"] == 2
    run.refresh_from_db()
    assert run.result["state"] == "succeeded"


def test_tuned_run_leaves_an_artifact_that_its_evaluation_loads(engine, make_run_job):
    run = make_run_job(method="prompt_tuning", family="tuned")
    do(run.job)
    artifact = Artifact.objects.get(run=run)

    job = do(evaluate_job(run))

    assert job.state == JobState.SUCCEEDED, job.error_detail
    assert set(artifact.files) == {"adapter_model.safetensors", "promptlab.json"}
    assert artifact.manifest == {"format": 1}


@pytest.mark.parametrize(("method", "stays"), [("lora", True), ("full", False)])
def test_host_is_thrown_away_after_the_models_own_weights_were_trained(engine, make_run_job, method, stays):
    run = make_run_job(method=method, family="tuned")

    ended = do(run.job)

    assert (ended.state, ended.error) == (JobState.SUCCEEDED, "")
    assert (slot()._host is not None) is stays


def test_evaluation_of_a_run_without_artifact_says_so(engine, make_run_job):
    run = make_run_job(method="prompt_tuning", family="tuned")

    job = do(evaluate_job(run))

    assert job.state == JobState.FAILED
    assert "has no tuned prompt to score" in job.error


def test_refusal_of_the_engine_stands_in_the_job(engine, make_run_job):
    engine("refuse")

    job = do(make_run_job().job)

    assert (job.state, job.error_kind, job.error, job.error_detail) == (JobState.FAILED, "bad_data", "Row 3 is empty.", "Traceback")


def test_fault_of_ours_gets_a_reference_and_keeps_its_detail(engine, make_run_job):
    engine("broken")

    job = do(make_run_job().job)

    assert (job.state, job.error_kind) == (JobState.FAILED, "internal")
    assert "reference" in job.error
    assert "KeyError" in job.error_detail


def test_fault_in_the_adapter_ends_the_job_and_not_the_worker(engine, workspace):
    job = do(make_job(workspace, kind="run", payload={}))

    assert (job.state, job.error_kind) == (JobState.FAILED, "internal")
    assert "KeyError" in job.error_detail


@pytest.mark.parametrize("place", ["workers.adapters.write_json", "workers.outcomes.store_file"])
def test_full_disk_is_one_sentence_and_the_job_can_be_tried_again(engine, make_run_job, monkeypatch, place):
    def write(*args, **kwargs) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = make_run_job(family="tuned", method="prompt_tuning")
    with monkeypatch.context() as full:
        full.setattr(place, write)
        job = do(run.job)
    assert (job.state, job.error_kind) == (JobState.FAILED, "disk_full")
    assert job.error.startswith("The worker's disk is full.")
    assert "ENOSPC" in job.error_detail or "No space left" in job.error_detail

    job_retry(job=job, by=None)

    assert do(job).state == JobState.SUCCEEDED


def test_poisonous_job_is_set_aside_and_its_neighbour_succeeds(engine, make_run_job):
    engine("segfault")
    poison = make_run_job().job
    for _ in range(3):
        Job.objects.update(not_before=None)
        do(poison)
    engine("work")

    neighbour = do(make_run_job().job)

    assert (poison.state, poison.num_crashes) == (JobState.QUARANTINED, 3)
    assert "SIGSEGV" in poison.error_detail
    assert neighbour.state == JobState.SUCCEEDED


def test_missing_rows_make_no_score(engine, make_run_job):
    run = make_run_job()
    version = run.approach.experiment.dataset_version
    split_file(version, "validation")
    version.examples.create(position=99, split="validation", fields={"text": "late"}, label="refund")

    job = do(run.job)

    assert job.state == JobState.FAILED
    assert "2 predictions came back for the 3 validation rows" in job.error
    assert not Prediction.objects.exists()


def test_second_hint_for_the_same_job_does_nothing(engine, make_run_job):
    run = make_run_job()
    do(run.job)

    do(run.job)

    assert run.job.attempts.count() == 1


def test_preview_keeps_rows_with_their_prompts_and_never_test_rows(engine, workspace):
    version = make_experiment(workspace).dataset_version
    rows = list(version.examples.filter(split__in=["validation", "test"]))
    job = make_job(workspace, kind="preview", queue="interactive")
    wording = {"user": "{{text}}", "answer_words": {"refund": ["money"], "gone": ["x"]}}
    preview = Preview.objects.create(
        dataset_version=version, backbone=make_backbone(), wording=wording, examples=[row.pk for row in rows], job=job
    )
    Job.objects.filter(pk=job.pk).update(payload={"preview": str(preview.pk)})

    do(job)

    preview.refresh_from_db()
    assert [(row["position"], row["split"], row["prompt"]) for row in preview.result["rows"]] == [
        (5, "validation", "shown"),
        (6, "validation", "shown"),
    ]


def test_verified_model_keeps_what_the_worker_found(engine, workspace):
    backbone = make_backbone(workspace, verified_at=None)

    do(make_job(workspace, kind="inspect", payload={"backbone": str(backbone.pk)}))

    backbone.refresh_from_db()
    assert backbone.facts == {"layers": 2}
    assert backbone.verified_at is not None


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"kind": "hub", "source": "owner/model", "revision": "a" * 40}, "HF_HUB_ALLOWED=1"),
        ({"kind": "local", "source": "/etc"}, "MODEL_FOLDERS"),
    ],
)
def test_model_from_a_forbidden_place_is_refused_in_a_sentence(engine, make_run_job, where, sentence):
    job = do(make_run_job(backbone=make_backbone(name="Elsewhere", **where)).job)

    assert (job.state, job.error_kind) == (JobState.FAILED, "refused")
    assert sentence in job.error


def test_leaving_worker_gives_its_job_back(engine, make_run_job, monkeypatch):
    engine("work", seconds=2.0)
    monkeypatch.setattr(celery_state, "should_stop", 0)

    job = do(make_run_job().job)

    assert (job.state, job.num_crashes, job.attempts.get().outcome) == (JobState.QUEUED, 0, "requeued")


def test_released_job_is_done_by_the_next_worker(engine, make_run_job):
    run = make_run_job()
    lease = job_claim(job_id=run.job_id, worker="first")
    assert lease is not None
    lease_release(lease=lease)

    assert do(run.job).state == JobState.SUCCEEDED
    assert run.job.attempts.count() == 2

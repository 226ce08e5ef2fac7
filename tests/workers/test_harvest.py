"""A prompt search through the real adapter, engine and services, on a tiny model: stopped, gone on, ended, scored on test rows."""

import pytest

from experiments.models import Job, JobState, Run, TemplateVersion, Trial
from experiments.services.leases import Lease, LeaseLost, job_claim, lease_finish, lease_release
from tests.factories import (
    make_approach,
    make_backbone,
    make_dataset_version,
    make_evaluation,
    make_experiment,
    make_job,
    make_run,
    make_template_version,
)
from workers.adapters import Order, order_of
from workers.harvest import Harvest
from workers.outcomes import outcome_save

pytestmark = pytest.mark.django_db
OPTIONS = {"budget": 200, "max_candidates": 8, "num_examples": 2, "draw_seed": 0}
TEXTS = {"refund": "I want my money back", "delivery": "where is my parcel"}
ROWS = [(split, f"{TEXTS[label]} {i}", label) for split in ("train", "validation", "test") for i in range(12) for label in TEXTS]


@pytest.fixture
def search(workspace, settings, tmp_path) -> Run:
    settings.ATTEMPTS_DIR = tmp_path / "attempts"
    experiment = make_experiment(workspace, dataset_version=make_dataset_version(workspace, ROWS))
    backbone = make_backbone(workspace)
    approach = make_approach(
        experiment, method="prompt_search", recipe=OPTIONS, backbone=backbone, template_version=make_template_version(workspace)
    )
    other = make_template_version(workspace, name="Another", user="{{text}} is about?")
    make_run(make_approach(experiment, backbone=backbone, template_version=other))
    run = make_run(approach)
    Job.objects.filter(pk=run.job_id).update(payload={"run": str(run.pk)})
    make_evaluation(run)
    return run


def attempt(job: Job, stop_after: int = 10**9) -> tuple[Lease, Order, Harvest, bool]:
    """Claim the job and let the engine work on it in this process; returns whether it came to its end."""
    from tests.workers.engine.fakes import make_backbone as make_tiny
    from workers.engine.contract.spec import RunSpec
    from workers.engine.errors import RunStopped
    from workers.engine.execute import execute
    from workers.engine.run import Run as EngineRun

    lease = job_claim(job_id=job.pk, worker="here")
    assert lease is not None
    order = order_of(Job.objects.get(pk=job.pk), fence=lease.fence)
    harvest, calls = Harvest(lease, order), []

    def should_stop() -> bool:
        calls.append(1)
        return len(calls) > stop_after

    spec = RunSpec.from_file(order.folder / "spec.json")
    try:
        execute(EngineRun(spec, order.folder / "out", provide=lambda ref: make_tiny(), should_stop=should_stop))
    except RunStopped:
        return lease, order, harvest, False
    return lease, order, harvest, True


def test_every_trial_is_stored_and_the_winner_becomes_a_version_with_its_lineage(search):
    lease, order, harvest, done = attempt(search.job)
    harvest.collect()
    outcome_save(lease, order, {})

    search.refresh_from_db()
    found = search.result["written"]["search"]
    trials = list(Trial.objects.filter(run=search))
    assert done
    assert len(trials) == found["num_candidates"]
    assert [trial.number for trial in trials if trial.is_winner] == [found["winner"]]
    version = TemplateVersion.objects.filter(optimised_by=search).first()
    if found["winner"]:
        assert version is not None
        assert version.optimised_from == search.approach.template_version
        assert (version.user, version.answer_cue) == (found["wording"]["user"], found["wording"]["answer_cue"])
    else:
        assert version is None


@pytest.fixture
def sweep(workspace, settings, tmp_path) -> Run:
    settings.ATTEMPTS_DIR = tmp_path / "attempts"
    experiment = make_experiment(workspace, dataset_version=make_dataset_version(workspace, ROWS))
    recipe = {"configurations": 3, "max_steps": 6, "evaluate_every": 2, "batch_size": 4, "num_virtual_tokens": 4, "patience": 0}
    approach = make_approach(
        experiment,
        family="tuned",
        method="prompt_tuning",
        recipe=recipe,
        backbone=make_backbone(workspace),
        template_version=make_template_version(workspace),
    )
    run = make_run(approach)
    Job.objects.filter(pk=run.job_id).update(payload={"run": str(run.pk)})
    make_evaluation(run)
    return run


def test_every_look_of_a_sweep_is_stored_and_the_winner_is_marked(sweep):
    lease, order, harvest, done = attempt(sweep.job)
    harvest.collect()
    outcome_save(lease, order, {})

    sweep.refresh_from_db()
    trials = list(Trial.objects.filter(run=sweep))
    assert done
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert [trial.number for trial in trials if trial.is_winner] == [sweep.result["sweep"]["winner"]]
    assert all([each["rung"] for each in trial.looks] == list(range(len(trial.looks))) for trial in trials)
    assert {trial.looks[-1]["step"] for trial in trials} == {2, 6}
    assert sweep.artifact.manifest["recipe"]["options"] == sweep.result["sweep"]["winner_config"]["options"]


def test_a_sweep_that_was_stopped_goes_on_and_keeps_its_looks(sweep):
    lease, _, harvest, done = attempt(sweep.job, stop_after=12)
    harvest.collect()
    kept = {trial.number: len(trial.looks) for trial in Trial.objects.filter(run=sweep)}
    lease_release(lease=lease)

    lease, order, harvest, ended = attempt(Job.objects.get(pk=sweep.job_id))
    harvest.collect()
    outcome_save(lease, order, {})

    assert (done, ended) == (False, True)
    assert kept
    assert all(len(trial.looks) >= kept.get(trial.number, 0) for trial in Trial.objects.filter(run=sweep))


def test_the_other_prompts_of_the_comparison_are_tried(search):
    _, _, harvest, _ = attempt(search.job)
    harvest.collect()

    assert Trial.objects.get(run=search, number=1).name == "Another v1 as written"


def test_no_test_row_is_among_the_files_of_a_search(search):
    lease = job_claim(job_id=search.job_id, worker="here")
    assert lease is not None
    text = (order_of(Job.objects.get(pk=search.job_id), fence=lease.fence).folder / "spec.json").read_text()

    assert "/validation-" in text
    assert "/train-" in text
    assert "/test-" not in text


def test_a_search_that_was_stopped_goes_on_from_its_stored_trials(search):
    lease, _, harvest, done = attempt(search.job, stop_after=6)
    harvest.collect()
    kept = {trial.number: trial.seconds for trial in Trial.objects.filter(run=search)}
    lease_release(lease=lease)

    _, _, harvest, ended = attempt(Job.objects.get(pk=search.job_id))
    harvest.collect()

    assert (done, ended) == (False, True)
    assert kept
    # The same looks with the seconds of the first attempt: nothing was measured twice.
    again = {trial.number: trial.looks[0]["seconds"] for trial in Trial.objects.filter(run=search)}
    assert {number: again[number] for number in kept} == kept


def test_a_worker_that_lost_its_job_stores_no_trial(search):
    lease, _, harvest, _ = attempt(search.job)
    lease_finish(lease=lease, state=JobState.FAILED)

    with pytest.raises(LeaseLost):
        harvest.collect()

    assert not Trial.objects.filter(run=search).exists()


def test_a_half_written_line_waits_for_its_end(search):
    _, order, harvest, _ = attempt(search.job)
    journal = order.folder / "out" / "trials.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    harvest.collect()
    before = sum(len(trial.looks) for trial in Trial.objects.filter(run=search))
    journal.write_bytes(whole)
    harvest.collect()

    assert sum(len(trial.looks) for trial in Trial.objects.filter(run=search)) == before + 1


def test_test_rows_are_answered_by_the_winner_without_another_search(search):
    lease, order, harvest, _ = attempt(search.job)
    harvest.collect()
    outcome_save(lease, order, {})
    job = make_job(search.approach.experiment.workspace, kind="evaluate")
    evaluation = make_evaluation(search, split="test", job=job)
    Job.objects.filter(pk=job.pk).update(payload={"evaluation": str(evaluation.pk)})

    lease, order, harvest, _ = attempt(Job.objects.get(pk=job.pk))
    harvest.collect()
    outcome_save(lease, order, {})

    from workers.engine.contract.spec import RunSpec

    spec = RunSpec.from_file(order.folder / "spec.json")
    search.refresh_from_db()
    assert spec.recipe.method == "hard_prompt"
    assert spec.template.user == search.result["written"]["search"]["wording"]["user"]
    evaluation.refresh_from_db()
    assert evaluation.attempt_id == lease.attempt_id

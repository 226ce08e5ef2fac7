"""What the engine host is given: files, checkpoints, environment."""

import hashlib
import json
from pathlib import Path

import pytest

from experiments.models import Artifact, Example, Focus
from experiments.storage import StoredFileDamaged, store_bytes, stored_path
from tests.factories import make_approach, make_attempt, make_backbone, make_dataset_version, make_experiment, make_run
from workers.adapters import order_of
from workers.environment import host_environment
from workers.inputs import artifact_folder, split_file


@pytest.fixture(autouse=True)
def attempts(settings, tmp_path) -> Path:
    folder: Path = tmp_path / "attempts"
    settings.ATTEMPTS_DIR = folder
    return folder


@pytest.fixture
def run(workspace):
    backbone = make_backbone()
    run = make_run(make_approach(make_experiment(workspace), method="prompt_tuning", family="tuned", backbone=backbone))
    run.job.payload = {"run": str(run.pk)}
    return run


def test_rows_are_written_once_with_their_hash(run, django_assert_num_queries):
    version = run.approach.experiment.dataset_version

    first = split_file(version, "train")
    with django_assert_num_queries(0):
        second = split_file(version, "train")

    content = Path(first.path).read_bytes()
    assert first == second
    assert first.sha256 == hashlib.sha256(content).hexdigest()
    assert [json.loads(line)["label"] for line in content.splitlines()] == ["refund", "refund", "delivery", "delivery"]


def test_order_names_files_and_seed_and_holds_no_data(run):
    order = order_of(run.job, fence=3)

    spec = json.loads((order.folder / "spec.json").read_text())
    assert order.request["id"] == f"{run.job.pk}:3"
    assert spec["train"]["sha256"] is not None
    assert "money back" not in (order.folder / "spec.json").read_text()
    assert spec["template"]["user"] == "{{text}}"


def test_next_attempt_begins_with_a_copy_of_the_newest_checkpoint(run, attempts):
    for fence in (1, 2):
        folder = attempts / str(run.job.pk) / str(fence) / "checkpoint"
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text(str(fence))

    order = order_of(run.job, fence=3)

    assert (order.folder / "checkpoint" / "checkpoint.json").read_text() == "2"
    assert json.loads((order.folder / "spec.json").read_text())["resume"] is True


def test_tuned_files_are_fetched_and_a_damaged_one_is_refused(run):
    sha256, size = store_bytes(b"weights of a test")
    artifact = Artifact.objects.create(
        run=run, attempt=make_attempt(run.job), files={"a.safetensors": {"sha256": sha256, "bytes": size}}, manifest={}, num_bytes=size
    )
    assert (artifact_folder(artifact) / "a.safetensors").read_bytes() == b"weights of a test"
    (artifact_folder(artifact) / "a.safetensors").unlink()
    from django.core.files.storage import default_storage

    Path(default_storage.path(stored_path(sha256))).write_bytes(b"weights of a tesT")

    with pytest.raises(StoredFileDamaged):
        artifact_folder(artifact)


def test_host_gets_no_secret_and_stays_offline():
    given = {"PATH": "/bin", "SECRET_KEY": "s", "DATABASE_URL": "d", "REDIS_URL": "r", "AWS_SECRET_ACCESS_KEY": "k", "OMP_NUM_THREADS": "3"}

    environment = host_environment(hub_allowed=False, given=given)

    assert not {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "AWS_SECRET_ACCESS_KEY"} & set(environment)
    assert (environment["HF_HUB_OFFLINE"], environment["OMP_NUM_THREADS"]) == ("1", "3")


def test_hub_is_reachable_where_it_is_allowed():
    assert "HF_HUB_OFFLINE" not in host_environment(hub_allowed=True, given={})


def test_point_of_a_curve_learns_from_a_nested_draw_of_train_rows(workspace):
    rows = [("train", f"message {at}", "refund" if at % 3 else "delivery") for at in range(40)] + [("validation", "late", "delivery")]
    experiment = make_experiment(workspace, dataset_version=make_dataset_version(workspace, rows))
    backbone = make_backbone()
    drawn = {}
    for size in (8, 16):
        point = make_approach(experiment, method="prompt_tuning", family="tuned", backbone=backbone, train_rows=size)
        run = make_run(point, seed=3)
        run.job.payload = {"run": str(run.pk)}
        spec = json.loads((order_of(run.job, fence=1).folder / "spec.json").read_text())
        drawn[size] = [json.loads(line) for line in Path(spec["train"]["path"]).read_text().splitlines()]

    assert [len(each) for each in drawn.values()] == [8, 16]
    assert {row["id"] for row in drawn[8]} < {row["id"] for row in drawn[16]}
    assert sorted(row["label"] for row in drawn[8]) == ["delivery"] * 4 + ["refund"] * 4
    assert split_file(experiment.dataset_version, "train").sha256 != spec["train"]["sha256"]


def test_second_round_marks_rows_that_are_shown_more_often_and_leaves_out_wrong_labels(run):
    rows = list(Example.objects.filter(split="train").order_by("position").values_list("pk", flat=True))
    Focus.objects.create(approach=run.approach, run=None, times=4, odds=2.0, rows=[rows[1]], left_out=[rows[3]])

    spec = json.loads((order_of(run.job, fence=1).folder / "spec.json").read_text())

    written = [json.loads(line) for line in Path(spec["train"]["path"]).read_text().splitlines()]
    assert [(int(row["id"]), row.get("times", 1)) for row in written] == [(rows[0], 1), (rows[1], 4), (rows[2], 1)]

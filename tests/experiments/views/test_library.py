import io
import zipfile

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import Artifact, Score
from experiments.storage import store_bytes
from tests.factories import make_approach, make_attempt, make_backbone, make_evaluation, make_experiment, make_run


@pytest.fixture
def artifact(workspace):
    experiment = make_experiment(workspace, name="=Which\nprompt?")
    run = make_run(make_approach(experiment, name="Soft ../prompt", family="tuned", method="prompt_tuning", backbone=make_backbone()))
    attempt = make_attempt(run.job)
    evaluation = make_evaluation(run, attempt=attempt)
    Score.objects.create(evaluation=evaluation, metric="accuracy", value=0.875, low=0.8, high=0.9, n=8, signature="accuracy")
    weights, size = store_bytes(b"weights")
    config, _ = store_bytes(b"{}")
    files = {"adapter_model.safetensors": {"sha256": weights, "bytes": size}, "../../evil.json": {"sha256": config, "bytes": 2}}
    return Artifact.objects.create(run=run, attempt=attempt, files=files, manifest={"format": 1}, num_bytes=size + 2)


def path_of(artifact):
    return f"/w/acme/library/artifacts/{artifact.pk}/download/"


def test_library_shows_models_and_tuned_prompts_with_their_accuracy(client_for, bob, workspace, artifact):
    page = client_for(bob).get("/w/acme/library/").content.decode()

    assert "Starter" in page
    assert "Soft ../prompt" in page
    assert "87.5%" in page


def test_library_takes_no_more_queries_for_twenty_tuned_prompts(client_for, bob, workspace, artifact):
    reader = client_for(bob)

    def num_queries():
        with CaptureQueriesContext(connection) as seen:
            reader.get("/w/acme/library/")
        return len(seen)

    few = num_queries()
    for seed in range(1, 20):
        run = make_run(artifact.run.approach, seed=seed)
        Artifact.objects.create(run=run, attempt=make_attempt(run.job), files={}, manifest={}, num_bytes=1)

    assert num_queries() == few <= 10


def test_download_is_the_folder_with_a_card_and_no_way_out_of_it(client_for, bob, artifact):
    answer = client_for(bob).get(path_of(artifact))
    folder = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))

    assert set(folder.namelist()) == {"adapter_model.safetensors", "evil.json", "CARD.md"}
    assert folder.read("adapter_model.safetensors") == b"weights"
    assert "0.8750 (n = 8)" in folder.read("CARD.md").decode()
    assert answer["Content-Disposition"] == 'attachment; filename="promptlab-soft-prompt-seed-0.zip"'


def test_the_same_artifact_gives_the_same_bytes(client_for, bob, artifact):
    first, second = (b"".join(client_for(bob).get(path_of(artifact)).streaming_content) for _ in range(2))

    assert first == second


def test_stranger_cannot_download(client_for, charlie, artifact):
    assert client_for(charlie).get(path_of(artifact)).status_code == 404


def test_download_asks_for_get(client_for, bob, artifact):
    assert client_for(bob).post(path_of(artifact)).status_code == 405


def test_the_table_of_families_says_what_runs_and_why_not(client_for, bob, workspace):
    page = client_for(bob).get("/w/acme/library/families/").content.decode()

    assert "Qwen3-Next" in page
    assert 'href="#reason-1"' in page
    assert "keep a running state instead" in page

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from experiments.models import Dataset, DatasetVersion, Job, Role
from experiments.presence import queue_health
from tests.factories import make_dataset_version, make_worker
from workers.tasks import execute_job

CSV = b"text,queue,part\n" + b"".join(f"message number {n},{'ab'[n % 2]},{'train' if n < 16 else 'test'}\n".encode() for n in range(20))
MAPPING = {
    "text_columns": ["text"],
    "label_column": "queue",
    "split_column": "part",
    "shares": {"train": 0.75, "validation": 0.25, "test": 0},
}


@pytest.fixture
def upload(call):
    def send(content=CSV, name="mail.csv", path="datasets", **fields):
        data = {"file": SimpleUploadedFile(name, content), "name": "Mail"} | fields
        return Client(raise_request_exception=False).post(f"/api/v1/{path}", data, headers={"Authorization": f"Bearer {call.clear}"})

    return send


def work_off():
    for job in Job.objects.filter(state="queued"):
        execute_job(str(job.pk))


def test_a_version_tells_which_worker_is_missing(upload, call):
    version = upload().json()
    assert version["waiting_for"] == [queue_health("io")]
    assert call("get", f"dataset-versions/{version['id']}/wait?timeout=0").json()["waiting_for"] == [queue_health("io")]

    make_worker("io")
    assert call("get", f"dataset-versions/{version['id']}").json()["waiting_for"] == []


def test_upload_map_and_read_in_steps(upload, call):
    version = upload().json()
    assert (version["stage"], version["number"]) == ("reading", 1)

    work_off()
    read = call("get", f"dataset-versions/{version['id']}").json()
    assert read["stage"] == "mapping"
    assert [column["name"] for column in read["file"]["columns"]] == ["text", "queue", "part"]

    assert call("post", f"dataset-versions/{version['id']}/mapping", MAPPING).json()["stage"] == "storing"
    work_off()
    done = call("get", f"dataset-versions/{version['id']}/wait").json()
    assert done["stage"] == "complete"
    assert done["labels"] == ["a", "b"]
    assert done["split_counts"] == {"train": 12, "validation": 4, "test": 4}


def test_upload_with_its_mapping_is_one_call(upload, monkeypatch):
    monkeypatch.setattr("experiments.api.datasets.wait_for", lambda happened, seconds: work_off())

    version = upload(mapping=json.dumps(MAPPING)).json()

    assert version["stage"] == "storing"
    work_off()
    assert DatasetVersion.objects.get().completed_at


def test_mapping_that_comes_before_the_file_is_read_is_refused_with_the_reason(upload, call):
    version = upload().json()

    answer = call("post", f"dataset-versions/{version['id']}/mapping", MAPPING)

    assert answer.status_code == 422
    assert "has not been read yet" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label_column": "nope"}, "no column"),
        ({"text_columns": ["queue"]}, "chosen twice"),
        ({"split_meaning": {"train": "moon"}}, "train, validation or test"),
        ({"shares": {"train": 0.9, "validation": 0.9, "test": 0.9}}, "100%"),
    ],
)
def test_impossible_mapping_is_refused_with_the_column_or_value(upload, call, change, sentence):
    version = upload().json()
    work_off()

    answer = call("post", f"dataset-versions/{version['id']}/mapping", MAPPING | change)

    assert answer.status_code == 422
    assert sentence in answer.json()["error"]["message"]


@pytest.mark.parametrize("mapping", ["{", "[]", '{"text_columns": []}', '{"text_columns": "text", "label_column": 3}', "null"])
def test_malformed_mapping_stores_nothing(upload, mapping):
    answer = upload(mapping=mapping)

    assert answer.status_code == 422
    assert not Dataset.objects.exists()


def test_upload_without_a_file_or_with_an_empty_one_is_refused(upload, call):
    answer = Client().post("/api/v1/datasets", {"name": "Mail"}, headers={"Authorization": f"Bearer {call.clear}"})

    assert answer.status_code == 422
    assert "No file arrived" in answer.json()["error"]["message"]
    assert upload(content=b"").status_code == 422
    assert not Dataset.objects.exists()


def test_upload_beyond_the_limit_is_413_and_stores_nothing(upload, settings):
    settings.UPLOAD_MAX_BYTES = 100

    answer = upload()

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"
    assert not Dataset.objects.exists()


def test_binary_named_csv_is_refused_in_a_sentence(upload, call):
    version = upload(content=b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8).json()
    work_off()

    read = call("get", f"dataset-versions/{version['id']}").json()

    assert read["stage"] == "refused"
    assert read["problem"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\x00b.csv", "C:\\evil.csv", "x" * 5_000 + ".csv", 'q"uote\r\nX-Evil: 1.csv', "‮gpj.csv", ""]
)
def test_hostile_file_names_are_display_text_only(upload, name):
    answer = upload(name=name or "x")

    assert answer.status_code in (201, 422)
    for version in DatasetVersion.objects.all():
        assert "/" not in version.source_name
        assert "\\" not in version.source_name
        assert version.source_name.isprintable()


def test_taken_name_is_refused(upload):
    upload()

    assert "exists" in (message := upload().json()["error"]["message"]) or "already" in message


def test_new_version_of_known_data(upload, call, workspace):
    version = make_dataset_version(workspace)

    answer = upload(path=f"datasets/{version.dataset.pk}/versions")

    assert (answer.status_code, answer.json()["number"]) == (201, 2)
    assert len(call("get", f"datasets/{version.dataset.pk}").json()["versions"]) == 2


def test_rows_for_prompts_never_hold_test_rows(call, workspace):
    version = make_dataset_version(workspace)

    train = call("get", f"dataset-versions/{version.pk}/examples?split=train").json()

    assert train["items"][0] == {"row": 1, "split": "train", "fields": {"text": "I want my money back"}, "label": "refund"}
    assert call("get", f"dataset-versions/{version.pk}/examples?split=test").status_code == 422


def test_a_draft_has_no_rows_for_prompts_whatever_its_findings_show(call, workspace):
    version = make_dataset_version(workspace, completed_at=None)

    assert version.examples.filter(split="train").exists()
    assert call("get", f"dataset-versions/{version.pk}/examples?split=train").json()["items"] == []


def test_rows_without_a_label_are_kept_when_the_mapping_says_so(upload, call):
    version = upload(CSV + b"who knows,,train\nnobody,,aside\n").json()
    work_off()
    mapping = MAPPING | {"keep_unlabelled": True, "split_meaning": {"aside": "unlabelled"}}

    call("post", f"dataset-versions/{version['id']}/mapping", mapping)
    work_off()

    done = call("get", f"dataset-versions/{version['id']}").json()
    assert done["split_counts"] == {"train": 12, "validation": 4, "test": 4, "unlabelled": 2}
    assert done["labels"] == ["a", "b"]
    bare = call("get", f"dataset-versions/{version['id']}/examples?split=unlabelled").json()["items"]
    assert [row["label"] for row in bare] == ["", ""]


def test_viewers_key_may_not_upload(caller_for, workspace):
    viewer = caller_for(workspace, Role.VIEWER)
    answer = Client().post("/api/v1/datasets", {"name": "Mail"}, headers={"Authorization": f"Bearer {viewer.clear}"})

    assert answer.status_code == 403

import io
import json
from dataclasses import replace

import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction

from experiments.errors import UserError
from experiments.intake.mapping import BadMapping, ColumnMapping
from experiments.intake.splits import Shares
from experiments.models import AuditEntry, Dataset, DatasetVersion, Example, Job, JobKind
from experiments.services import datasets
from experiments.storage import open_stored, stored_path
from tests.factories import make_dataset, make_dataset_version

MAPPING = ColumnMapping(("text",), "label", shares=Shares(0.6, 0.2, 0.2))


def held() -> None:
    """Nobody else has the job."""


def csv(rows: int = 40, *, header: str = "text,label") -> bytes:
    return "\n".join([header, *(f"message number {number},{'ab'[number % 2]}" for number in range(rows))]).encode()


@pytest.fixture
def upload(workspace, alice):
    def send(content: bytes = csv(), name: str = "mail.csv", dataset: Dataset | None = None) -> DatasetVersion:
        dataset = dataset or datasets.dataset_create(workspace=workspace, by=alice, name=f"Mail {Dataset.objects.count()}")
        return datasets.dataset_upload(dataset=dataset, by=alice, file=io.BytesIO(content), name=name)

    return send


@pytest.fixture
def read(upload):
    def send(content: bytes = csv(), name: str = "mail.csv") -> DatasetVersion:
        version = upload(content, name)
        datasets.dataset_version_read(version=version, hold=held)
        Job.objects.filter(pk=version.job.pk).update(state="succeeded")
        return DatasetVersion.objects.get(pk=version.pk)

    return send


def store(version: DatasetVersion, mapping: ColumnMapping = MAPPING) -> DatasetVersion:
    datasets.dataset_version_map(version=version, by=None, mapping=mapping)
    version.refresh_from_db()
    datasets.dataset_version_store(version=version, hold=held)
    version.refresh_from_db()
    return version


def test_an_upload_is_kept_byte_for_byte_and_queues_its_reading(upload):
    version = upload()

    assert open_stored(version.source_sha256).read() == csv()
    assert version.job.kind == JobKind.PARSE
    assert version.job.payload == {"dataset_version": str(version.pk)}
    assert version.completed_at is None
    assert AuditEntry.objects.filter(verb="uploaded").count() == 1


def test_an_empty_file_leaves_nothing_behind(workspace, alice):
    with pytest.raises(UserError, match="file is empty"):
        datasets.dataset_start(workspace=workspace, by=alice, name="Mail", attribution="", file=io.BytesIO(b""), file_name="mail.csv")

    assert not Dataset.objects.exists()
    assert not Job.objects.exists()


def test_a_name_is_taken_once_in_a_workspace(workspace, alice):
    datasets.dataset_create(workspace=workspace, by=alice, name="Mail")

    with pytest.raises(UserError, match="named “Mail” already"):
        datasets.dataset_create(workspace=workspace, by=alice, name=" Mail ")


def test_a_name_from_a_file_is_only_shown_never_a_path(upload):
    assert upload(name="../../etc/pass\x00wd.csv").source_name == "passwd.csv"


def test_a_file_goes_from_bytes_to_a_complete_version(read):
    version = store(read())

    assert version.completed_at
    assert version.labels == ["a", "b"]
    assert version.split_counts == {"train": 24, "validation": 8, "test": 8}
    assert version.examples.get(position=2).fields == {"text": "message number 0"}  # the header is row 1, as in a spreadsheet
    assert version.gate_report["blocked"] is False
    assert len(version.content_sha256) == 64


def test_the_same_rows_have_the_same_content_hash(read):
    assert store(read()).content_sha256 == store(read()).content_sha256
    assert store(read()).content_sha256 != store(read(csv(42))).content_sha256


def test_storing_twice_stores_the_rows_once(read):
    version = store(read())
    first = version.completed_at

    DatasetVersion.objects.filter(pk=version.pk).update(completed_at=None)
    version.refresh_from_db()
    datasets.dataset_version_store(version=version, hold=held)

    assert version.examples.count() == 40
    assert version.completed_at != first


def test_what_a_dead_worker_left_is_replaced(read):
    version = read()
    Example.objects.create(version=version, position=2, split="train", fields={"text": "half"}, label="stored")

    assert store(version).examples.filter(label="stored").count() == 0


def repeats(version: DatasetVersion) -> list[tuple[int, int, int | None]]:
    return list(version.row_findings.filter(code="duplicates").values_list("place", "position", "twin"))


def test_every_row_that_the_gate_finds_is_kept_once_however_often_the_job_runs(read, monkeypatch):
    monkeypatch.setattr(datasets, "BATCH_ROWS", 2)
    mapping = ColumnMapping(
        ("text",), "label", split_column="split", split_meaning={"train": "train", "test": "test", "validation": "validation"}
    )
    rows = "".join(f"text {number % 8},{'ab'[number % 2]},train\n" for number in range(14))
    version = read(f"text,label,split\n{rows}other,a,test\nanother,b,validation\n".encode())

    store(version, mapping)
    DatasetVersion.objects.filter(pk=version.pk).update(completed_at=None)
    version.refresh_from_db()
    datasets.dataset_version_store(version=version, hold=held)

    assert repeats(version) == [(place, place + 10, place + 2) for place in range(6)]


def test_a_worker_that_lost_the_job_keeps_no_finding(read):
    version = read(csv(40) + b"\n,a\n")
    datasets.dataset_version_map(version=version, by=None, mapping=MAPPING)
    version.refresh_from_db()

    def lost() -> None:
        raise RuntimeError("somebody else has the job")

    with pytest.raises(RuntimeError):
        datasets.dataset_version_store(version=version, hold=lost)
    assert not version.row_findings.exists()
    assert not version.examples.exists()


def test_a_refused_file_keeps_its_sentence_and_stores_no_row(upload):
    version = upload(b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "table.csv")

    with pytest.raises(UserError, match="picture"):
        datasets.dataset_version_read(version=version, hold=held)

    version.refresh_from_db()
    assert "picture" in version.problem
    assert version.parse_report["num_problems"] == 1
    assert not version.parsed_sha256


def test_of_blocked_rows_only_those_of_findings_are_kept_and_every_reason(read):
    version = read(csv(40) + b"\n,a\n")
    datasets.dataset_version_map(version=version, by=None, mapping=MAPPING)
    version.refresh_from_db()

    with pytest.raises(UserError, match="Row 42: the text is empty"):
        datasets.dataset_version_store(version=version, hold=held)

    version.refresh_from_db()
    assert version.completed_at is None
    assert version.examples.get().position == 42
    assert [finding["code"] for finding in version.gate_report["findings"] if finding["severity"] == "blocks"] == ["empty_text"]


def test_rows_without_text_can_be_left_out_and_are_counted(read):
    mapping = ColumnMapping(("text",), "label", shares=Shares(0.6, 0.2, 0.2), leave_out_empty=True)

    version = store(read(csv(40) + b"\n,a\n"), mapping)

    assert version.num_rows == 40
    assert "1 row was left out" in json.dumps(version.gate_report)


def test_rows_that_leak_into_train_are_left_out_and_counted(read):
    content = csv(40, header="text,label,split").replace(b",a", b",a,train").replace(b",b", b",b,train")
    content += b"\nmessage number 0,a,test\nunseen,b,test\nunheard,a,validation\n"
    meaning = {"train": "train", "test": "test", "validation": "validation"}

    version = store(read(content), ColumnMapping(("text",), "label", split_column="split", split_meaning=meaning))

    assert version.split_counts == {"train": 39, "validation": 1, "test": 2}
    assert "left out of train and validation" in json.dumps(version.gate_report)


def test_rows_without_a_label_block_unless_they_are_kept_as_unlabelled_rows(read):
    bare = csv(40) + b"\nno label here,\nnor here,\n"
    blocked = read(bare)
    with pytest.raises(UserError, match="Rows 42 and 43: the label is empty"):
        store(blocked)

    version = store(read(bare), replace(MAPPING, keep_unlabelled=True))

    assert version.split_counts == {"train": 24, "validation": 8, "test": 8, "unlabelled": 2}
    assert version.labels == ["a", "b"]
    assert set(version.examples.filter(split="unlabelled").values_list("position", "label")) == {(42, ""), (43, "")}
    assert "2 rows are kept without a label" in json.dumps(version.gate_report)


def test_an_unlabelled_row_that_stands_in_test_is_left_out_and_one_without_text_too(read):
    labelled = store(read()).examples
    leak = labelled.filter(split="test").first().fields["text"]
    content = csv(40) + f"\n{leak},\n,\nnew,\n".encode()

    version = store(read(content), replace(MAPPING, keep_unlabelled=True, leave_out_empty=True))

    assert version.split_counts == {"train": 24, "validation": 8, "test": 8, "unlabelled": 1}
    assert "1 row was left out of train, validation and the unlabelled rows" in json.dumps(version.gate_report)


def test_a_label_on_an_unlabelled_row_is_refused_by_the_database(workspace):
    version = make_dataset_version(workspace)

    with pytest.raises(IntegrityError), transaction.atomic():
        Example.objects.create(version=version, position=99, split="unlabelled", fields={"text": "x"}, label="refund")


def test_mapping_again_with_the_same_words_gives_the_same_job(read):
    version = read()

    first = datasets.dataset_version_map(version=version, by=None, mapping=MAPPING)

    assert datasets.dataset_version_map(version=version, by=None, mapping=MAPPING) == first
    with pytest.raises(UserError, match="being stored with other settings"):
        datasets.dataset_version_map(version=version, by=None, mapping=ColumnMapping(("text",), "label", seed=9))


def test_a_mapping_that_does_not_fit_changes_nothing(read):
    version = read()

    with pytest.raises(BadMapping):
        datasets.dataset_version_map(version=version, by=None, mapping=ColumnMapping(("nowhere",), "label"))

    version.refresh_from_db()
    assert version.mapping == {}


def test_a_file_that_was_not_read_cannot_be_mapped(upload):
    with pytest.raises(UserError, match="has not been read"):
        datasets.dataset_version_map(version=upload(), by=None, mapping=MAPPING)


def test_a_complete_version_never_changes(read):
    version = store(read())

    with pytest.raises(UserError, match="complete"):
        datasets.dataset_version_map(version=version, by=None, mapping=MAPPING)
    with pytest.raises(UserError, match="complete"):
        datasets.dataset_version_discard(version=version, by=None)


def test_a_discarded_draft_takes_its_empty_dataset_and_its_job_along(upload):
    version = upload()

    assert datasets.dataset_version_discard(version=version, by=None) is True
    assert not Dataset.objects.exists()
    assert Job.objects.get().state == "cancelled"


def test_a_discarded_draft_leaves_other_versions(workspace, upload):
    complete = make_dataset_version(workspace, dataset=make_dataset(workspace))

    assert datasets.dataset_version_discard(version=upload(dataset=complete.dataset), by=None) is False
    assert list(complete.dataset.versions.all()) == [complete]


def test_the_file_of_a_discarded_draft_goes_unless_another_version_is_made_of_it(upload, django_capture_on_commit_callbacks):
    first, second = upload(), upload()
    file = first.source_sha256

    with django_capture_on_commit_callbacks(execute=True):
        datasets.dataset_version_discard(version=first, by=None)
    assert default_storage.exists(stored_path(file))
    with django_capture_on_commit_callbacks(execute=True):
        datasets.dataset_version_discard(version=second, by=None)
    assert not default_storage.exists(stored_path(file))


def test_versions_are_numbered_in_order(upload):
    first = upload()

    assert upload(dataset=first.dataset).number == first.number + 1

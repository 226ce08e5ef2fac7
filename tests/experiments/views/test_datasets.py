import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from django.utils import timezone

from experiments.models import Dataset, DatasetVersion, Example, Job, Worker
from tests.factories import make_dataset, make_dataset_version, make_job, make_membership
from workers.tasks import execute_job

ROWS = "".join(f"message number {number},{'ab'[number % 2]}\n" for number in range(60))
CSV = f"text,label\n{ROWS}".encode()
SHARES = {"train": 60, "validation": 20, "test": 20, "seed": 0, "task": "classification"}
ROLES = {"role-0": "text", "role-1": "label", **SHARES}


@pytest.fixture
def dora_client(client_for, dora):
    return client_for(dora)


@pytest.fixture
def upload(dora_client):
    def send(content: bytes = CSV, name: str = "mail.csv", **fields):
        return dora_client.post("/w/acme/data/new/", {"file": SimpleUploadedFile(name, content), **fields})

    return send


def work_off() -> None:
    for job in Job.objects.filter(state="queued"):
        execute_job(str(job.pk))


def page_of(client, version: DatasetVersion | None = None) -> str:
    version = version or DatasetVersion.objects.latest("created_at")
    response = client.get(f"/w/acme/data/versions/{version.pk}/")
    assert response.status_code == 200
    return str(response.content.decode())


def map_it(client, **roles):
    version = DatasetVersion.objects.latest("created_at")
    return client.post(f"/w/acme/data/versions/{version.pk}/map/", {**ROLES, **roles})


# --- list -----------------------------------------------------------------------------------------------------------------


def test_the_list_shows_rows_by_split(client_for, bob, workspace):
    make_dataset_version(workspace)

    page = client_for(bob).get("/w/acme/data/").content.decode()

    assert "Support mail" in page
    assert "Upload data" not in page  # bob may only read


def test_an_empty_list_says_how_to_begin(dora_client):
    assert "No data yet" in dora_client.get("/w/acme/data/").content.decode()


def test_a_stranger_sees_no_data(client_for, charlie, workspace):
    version = make_dataset_version(workspace)
    client = client_for(charlie)

    for address in ("/w/acme/data/", f"/w/acme/data/{version.dataset_id}/", f"/w/acme/data/versions/{version.pk}/"):
        assert client.get(address).status_code == 404


def test_data_is_found_only_below_its_own_workspace(client_for, alice, workspace, charlie):
    make_membership(workspace, charlie)
    version = make_dataset_version(workspace)

    assert client_for(charlie).get(f"/w/elsewhere/data/versions/{version.pk}/").status_code == 404


def test_lists_take_no_post_and_changes_no_get(dora_client, workspace):
    version = make_dataset_version(workspace)

    assert dora_client.post("/w/acme/data/").status_code == 405
    for verb in ("map", "divide", "discard", "retry"):
        assert dora_client.get(f"/w/acme/data/versions/{version.pk}/{verb}/").status_code == 405


@pytest.mark.parametrize("rows", [1, 20])
def test_the_list_asks_the_same_number_of_questions_however_much_there_is(client_for, bob, workspace, rows, django_assert_max_num_queries):
    for number in range(rows):
        dataset = make_dataset(workspace, name=f"Mail {number}")
        make_dataset_version(workspace, dataset=dataset)
        make_dataset_version(workspace, dataset=dataset, completed_at=None, job=make_job(workspace, kind="parse"))
    client = client_for(bob)

    with django_assert_max_num_queries(7):
        assert client.get("/w/acme/data/").status_code == 200


# --- the way in -----------------------------------------------------------------------------------------------------------


def test_a_file_goes_from_the_form_to_stored_rows(upload, dora_client):
    response = upload()
    assert DatasetVersion.objects.get().dataset.name == "mail"  # the file's name serves
    assert "Reading the file" in dora_client.get(response.url).content.decode()

    work_off()
    page = page_of(dora_client)
    assert "What do the columns mean?" in page
    assert re.search(r'<option value="label" selected>Label or reference</option>', page)

    assert map_it(dora_client).status_code == 302
    work_off()
    page = page_of(dora_client)
    assert "message number 0" in page
    assert DatasetVersion.objects.get().split_counts == {"train": 36, "validation": 12, "test": 12}


def test_the_waiting_page_says_within_15_seconds_that_no_worker_is_running(upload, dora_client):
    response = upload()

    assert "No worker for reading data" in dora_client.get(response.url).content.decode()

    Worker.objects.create(name="io-1", queue="io", started_at=timezone.now(), seen_at=timezone.now())
    assert "No worker" not in dora_client.get(response.url).content.decode()


def test_the_polled_part_leads_on_when_the_file_was_read(upload, dora_client):
    address = upload().url
    progress = f"{address}progress/"
    assert 'hx-trigger="load' in dora_client.get(progress).content.decode()

    work_off()

    assert dora_client.get(progress).headers["HX-Redirect"] == address


def test_the_script_gets_an_address_or_a_sentence(dora_client):
    script = {"X-Requested-With": "XMLHttpRequest"}
    good = dora_client.post("/w/acme/data/new/", {"file": SimpleUploadedFile("m.csv", CSV)}, headers=script)
    bad = dora_client.post("/w/acme/data/new/", {"file": SimpleUploadedFile("empty.csv", b"")}, headers=script)

    assert good.json()["location"].startswith("/w/acme/data/versions/")
    assert bad.status_code == 422
    assert "The file is empty" in bad.json()["error"]


@override_settings(UPLOAD_MAX_BYTES=1000)
def test_a_file_over_the_limit_is_refused_while_it_arrives(upload):
    response = upload(b"text,label\n" + b"x,a\n" * 1000)

    assert response.status_code == 413
    assert "larger than the" in response.content.decode()
    assert not Dataset.objects.exists()


def test_a_viewer_may_not_upload(client_for, bob, workspace):
    response = client_for(bob).post("/w/acme/data/new/", {"file": SimpleUploadedFile("m.csv", CSV)})

    assert response.status_code == 403
    assert not Dataset.objects.exists()


def test_a_form_that_was_not_sent_yet_shows_no_error(dora_client, workspace):
    dataset = make_dataset(workspace)

    for address in ("/w/acme/data/new/", f"/w/acme/data/{dataset.pk}/upload/", f"/w/acme/data/{dataset.pk}/edit/"):
        response = dora_client.get(address)
        assert response.status_code == 200
        assert "errorlist" not in response.content.decode()


def test_no_file_and_a_name_that_is_taken_are_said_in_the_form(dora_client, upload, workspace):
    make_dataset(workspace, name="Mail")

    assert "Choose a file" in dora_client.post("/w/acme/data/new/", {}).content.decode()
    response = upload(name="other.csv", **{})
    assert response.status_code == 302
    taken = dora_client.post("/w/acme/data/new/", {"file": SimpleUploadedFile("m.csv", CSV), "name": "Mail"})
    assert taken.status_code == 422
    assert "named “Mail” already" in taken.content.decode()


# --- bad input through the real path --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("text,label\ncafé,a\n".encode("latin-1"), "mail.csv", "is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "mail.csv", "is a picture"),
        (b"PK\x03\x04" + b"\0" * 100, "mail.csv", "Rename it to .xlsx"),
        (b"text,text\na,b\n", "mail.csv", "have the same name, “text”"),
        (b"text,label\n", "mail.csv", "has a header but no rows"),
        (b"\n\n", "mail.csv", "first row is empty"),
        (CSV, "mail.docx", "Files ending in .docx are not read"),
        (b'[{"text": "a"}]', "mail.jsonl", "one JSON array"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_offers_another_upload(upload, dora_client, content, name, sentence):
    upload(content, name)
    work_off()

    page = page_of(dora_client)

    assert sentence in page
    assert "Upload another file" in page
    assert not Example.objects.exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"one,two,three\n", "has 3 cells"),
        (b"nul\0byte,a\n", "NUL character"),
        (b"x" * 100_001 + b",a\n", "more than 100,000 characters"),
    ],
)
def test_a_bad_row_is_named_and_left_out(upload, dora_client, line, sentence):
    upload(CSV + line)
    work_off()

    page = page_of(dora_client)

    assert "What do the columns mean?" in page
    assert sentence in page
    assert "1 row is" in page


def test_one_label_is_refused_with_its_name_and_can_be_mapped_again(upload, dora_client):
    upload(CSV.replace(b",b\n", b",a\n"))
    work_off()
    map_it(dora_client)
    work_off()

    page = page_of(dora_client)

    assert "Every row has the label “a”" in page
    assert "What do the columns mean?" in page
    assert not Example.objects.exists()


def test_rows_that_are_empty_are_left_out_by_one_button(upload, dora_client):
    upload(CSV + b",a\nsomething,\n")
    work_off()
    map_it(dora_client)
    work_off()
    button = re.search(r'<button [^>]*name="(leave_out_empty)" value="(on)">Leave these rows out', page_of(dora_client))
    assert button

    map_it(dora_client, **{button[1]: button[2]})
    work_off()

    assert "2 rows were left out" in page_of(dora_client)
    assert Example.objects.count() == CSV.count(b"\n") - 1


def test_a_file_with_another_fault_offers_no_button_that_would_not_help(upload, dora_client):
    upload(CSV.replace(b",b\n", b",a\n") + b",a\n")
    work_off()
    map_it(dora_client)
    work_off()

    assert "Leave these rows out" not in page_of(dora_client)


def test_500_labels_are_stored_with_a_warning(upload, dora_client):
    upload(b"text,label\n" + "".join(f"text {n},label {n % 500}\n" for n in range(2000)).encode())
    work_off()
    map_it(dora_client)
    work_off()

    assert "There are 500 labels" in page_of(dora_client)


def test_labels_with_commas_quotes_markup_and_emoji_come_back_as_they_were(upload, dora_client):
    labels = ['a, b "c"', "😀 <script>alert(1)</script>"]
    rows = "".join(f'text {n},"{labels[n % 2].replace(chr(34), chr(34) * 2)}"\n' for n in range(60))
    upload(f"text,label\n{rows}".encode())
    work_off()
    map_it(dora_client)
    work_off()

    assert DatasetVersion.objects.get().labels == labels
    page = page_of(dora_client)
    assert "😀 &lt;script&gt;" in page
    assert "<script>alert" not in page


def test_shares_that_do_not_make_100_are_said_in_the_form(upload, dora_client):
    upload()
    work_off()

    response = map_it(dora_client, train=50)

    assert response.status_code == 422
    assert "make 100% together" in response.content.decode()


def test_a_changed_role_shows_how_the_rows_are_divided(upload, dora_client):
    upload(b"text,label,part\n" + b"".join(f"t{n},{'ab'[n % 2]},{['train', 'dev'][n % 2]}\n".encode() for n in range(40)))
    work_off()
    version = DatasetVersion.objects.get()

    answer = dora_client.post(f"/w/acme/data/versions/{version.pk}/divide/", {**ROLES, "role-2": "split"}).content.decode()

    assert '<option value="validation" selected>' in answer
    unknown = map_it(dora_client, **{"role-2": "split", "role-1": "split"})
    assert "Only one column can be the label" in unknown.content.decode()


# --- a version ------------------------------------------------------------------------------------------------------------


def test_rows_are_filtered_by_split_label_and_words(client_for, bob, workspace):
    version = make_dataset_version(workspace)
    client = client_for(bob)

    def rows(query: str) -> list[str]:
        page = client.get(f"/w/acme/data/versions/{version.pk}/?{query}").content.decode()
        return [text for text in Example.objects.values_list("fields__text", flat=True) if text in page]

    assert rows("q=COURIER") == ["the courier never came"]
    assert rows("split=validation&label=refund") == ["can I get a refund"]
    assert rows("split=nonsense&after=x") == rows("")
    assert len(rows("")) == 8


def test_pages_of_rows_follow_each_other_both_ways(client_for, bob, workspace):
    rows = [("train", f"text {number:03}", "ab"[number % 2]) for number in range(120)]
    version = make_dataset_version(workspace, rows)
    client = client_for(bob)
    address = f"/w/acme/data/versions/{version.pk}/"

    second = client.get(f"{address}?after=50").content.decode()

    assert "text 050" in second
    assert "text 099" in second
    assert "text 100" not in second
    assert "?before=51" in second
    back = client.get(f"{address}?before=51").content.decode()
    assert "text 000" in back
    assert "text 050" not in back


def test_a_long_cell_is_cut_and_says_so(client_for, bob, workspace):
    version = make_dataset_version(workspace, [("train", "x" * 5000, "a")])

    assert "3,500 more characters" in page_of(client_for(bob), version)


@pytest.mark.parametrize("rows", [1, 20])
def test_a_version_asks_the_same_number_of_questions_however_many_rows_it_has(
    client_for, bob, workspace, rows, django_assert_max_num_queries
):
    version = make_dataset_version(workspace, [("train", f"text {number}", "a") for number in range(rows)])
    client = client_for(bob)

    with django_assert_max_num_queries(9):
        page_of(client, version)


def test_the_file_comes_back_as_an_attachment_that_no_browser_reads_as_a_page(upload, dora_client):
    upload(b"text,label\n<script>alert(1)</script>,a\n", 'we"ird\n.csv')
    version = DatasetVersion.objects.get()

    response = dora_client.get(f"/w/acme/data/versions/{version.pk}/file/")

    assert b"".join(response.streaming_content).startswith(b"text,label")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_new_version_stands_beside_the_old_one(dora_client, workspace):
    old = make_dataset_version(workspace)

    response = dora_client.post(f"/w/acme/data/{old.dataset_id}/upload/", {"file": SimpleUploadedFile("m.csv", CSV)})

    assert old.dataset.versions.count() == 2
    assert response.status_code == 302
    # Until the new one is complete, the data's own address leads to the old one.
    assert dora_client.get(f"/w/acme/data/{old.dataset_id}/").url == f"/w/acme/data/versions/{old.pk}/"


def test_a_draft_can_be_thrown_away_and_a_complete_version_not(upload, dora_client, workspace):
    upload()
    draft = DatasetVersion.objects.get()
    assert dora_client.post(f"/w/acme/data/versions/{draft.pk}/discard/").url == "/w/acme/data/"
    complete = make_dataset_version(workspace)

    response = dora_client.post(f"/w/acme/data/versions/{complete.pk}/discard/", follow=True)

    assert "is complete" in response.content.decode()
    assert DatasetVersion.objects.get() == complete


def test_data_can_be_described_by_whoever_may_write(dora_client, client_for, bob, workspace):
    dataset = make_dataset(workspace)
    said = {"name": "Banking77", "description": "", "attribution": "CC BY 4.0"}

    assert client_for(bob).post(f"/w/acme/data/{dataset.pk}/edit/", said).status_code == 403
    assert dora_client.post(f"/w/acme/data/{dataset.pk}/edit/", said).status_code == 302
    dataset.refresh_from_db()
    assert dataset.attribution == "CC BY 4.0"

"""From a file in the browser to stored rows, and what is said about a file that cannot be used."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from django.utils import timezone

from experiments.models import Dataset, DatasetVersion, Example, Worker
from tests.factories import make_dataset
from tests.upload_data import CSV, ROLES, map_it, page_of, work_off

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

    warning = page.index("1 row of the file could not be read and is left out.")
    assert warning < page.index('id="mapping"') < page.index('id="parse-problems"') < page.index(sentence)

    map_it(dora_client)
    work_off()
    page = page_of(dora_client)

    assert "message number 0" in page
    assert page.index("1 row of the file could not be read and is left out.") < page.index('id="parse-problems"') < page.index(sentence)


def test_the_mapping_page_says_what_was_skipped_and_which_values_it_shows(upload, dora_client):
    upload(CSV + b",\none more,b\n")
    work_off()
    page = page_of(dora_client)

    assert "1 row has no text in any cell and was skipped: row 62 of the file." in page
    assert re.findall(r'<span class="cell-note">(most frequent|first in the file)</span>\s*<span class="sample">([^<]*)<', page) == [
        ("first in the file", "message number 0"),
        ("most frequent", "b"),
    ]


def test_a_file_without_bad_rows_has_no_warning_about_them(upload, dora_client):
    upload()
    work_off()
    before = page_of(dora_client)
    map_it(dora_client)
    work_off()

    assert all("could not be read" not in page for page in (before, page_of(dora_client)))


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


def test_rows_without_a_label_are_kept_by_one_button_and_shown_apart(upload, dora_client):
    upload(CSV + b"something,\nmore,\n")
    work_off()
    map_it(dora_client)
    work_off()
    page = " ".join(page_of(dora_client).split())
    button = re.search(r'name="(keep_unlabelled)" value="(on)"[^>]*>Keep them as unlabelled rows', page)
    assert button
    assert 'name="keep_unlabelled" checked' not in page

    map_it(dora_client, **{button[1]: button[2]})
    work_off()

    page = " ".join(page_of(dora_client).split())
    assert "2 rows are kept without a label" in page
    assert '<option value="unlabelled">Unlabelled</option>' in page
    assert re.search(r"<dt>Unlabelled</dt> <dd[^>]*> ?2 ?</dd>", page)
    assert "and 2 unlabelled" in dora_client.get("/w/acme/data/").content.decode()


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

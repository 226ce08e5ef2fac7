"""The list of data, and the page of a version."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import DatasetVersion, Example
from tests.comparison_data import make_price_book
from tests.factories import (
    make_approach,
    make_dataset,
    make_dataset_version,
    make_experiment,
    make_job,
    make_membership,
    make_template_version,
)
from tests.upload_data import CSV, page_of, work_off

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


def test_a_learning_curve_counts_as_no_comparison_of_its_own(client_for, bob, workspace):
    book = make_price_book(workspace)
    comparison = make_experiment(workspace, dataset_version=make_dataset_version(workspace), price_book=book)
    curve = make_experiment(workspace, dataset_version=comparison.dataset_version, price_book=book, curve_of=comparison)
    written = make_template_version(workspace)
    for experiment in (comparison, curve):
        make_approach(experiment, template_version=written)
    client = client_for(bob)

    assert '<td class="num" data-label="Comparisons">1</td>' in client.get("/w/acme/data/").content.decode()
    assert "in 1 comparison" in client.get(f"/w/acme/prompts/{written.template_id}/").content.decode()
    assert "1 comparison<" in client.get("/w/acme/settings/prices/").content.decode()


@pytest.mark.parametrize("rows", [1, 20])
def test_the_list_asks_the_same_number_of_questions_however_much_there_is(client_for, bob, workspace, rows, django_assert_max_num_queries):
    for number in range(rows):
        dataset = make_dataset(workspace, name=f"Mail {number}")
        make_dataset_version(workspace, dataset=dataset)
        make_dataset_version(workspace, dataset=dataset, completed_at=None, job=make_job(workspace, kind="parse"))
    client = client_for(bob)

    with django_assert_max_num_queries(7):
        assert client.get("/w/acme/data/").status_code == 200


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


@pytest.mark.parametrize(("query", "said"), [("refund", "1 row matches"), ("nowhere", "0 rows match")])
def test_a_search_that_fits_on_one_page_goes_through_the_rows_once(client_for, bob, workspace, query, said):
    version = make_dataset_version(workspace)
    client = client_for(bob)

    with CaptureQueriesContext(connection) as queries:
        page = client.get(f"/w/acme/data/versions/{version.pk}/", {"q": query}).content.decode()

    assert said in page
    assert sum("LIKE" in each["sql"] for each in queries) == 1


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


def test_an_empty_cell_is_no_value_of_a_column(upload, dora_client):
    upload(CSV + b"a message that nobody has labelled,\n")
    work_off()

    assert "2 different values, 1 empty" in " ".join(page_of(dora_client).split())


def test_a_draft_can_be_thrown_away_and_a_complete_version_not(upload, dora_client, workspace):
    upload()
    draft = DatasetVersion.objects.get()
    assert dora_client.post(f"/w/acme/data/versions/{draft.pk}/discard/").url == "/w/acme/data/"
    complete = make_dataset_version(workspace)

    response = dora_client.post(f"/w/acme/data/versions/{complete.pk}/discard/", follow=True)

    assert "is complete" in response.content.decode()
    assert DatasetVersion.objects.get() == complete


def test_a_file_that_could_not_be_read_stands_as_failed_and_leaves_the_list_by_one_button(upload, dora_client, client_for, bob):
    upload(b"\x00\xff not a table", "rows.csv")
    discard = f"/w/acme/data/versions/{DatasetVersion.objects.get().pk}/discard/"
    assert discard not in dora_client.get("/w/acme/data/").content.decode()  # it is still being read
    work_off()

    page = dora_client.get("/w/acme/data/").content.decode()

    assert "Failed" in page
    assert "Needs you" not in page
    assert "Discard this upload?" in page
    assert f'method="post" action="{discard}"' in page
    assert discard not in client_for(bob).get("/w/acme/data/").content.decode()
    assert client_for(bob).post(discard).status_code == 403
    assert "No data yet" in dora_client.post(discard, follow=True).content.decode()


def test_data_can_be_described_by_whoever_may_write(dora_client, client_for, bob, workspace):
    dataset = make_dataset(workspace)
    said = {"name": "Banking77", "description": "", "attribution": "CC BY 4.0"}

    assert client_for(bob).post(f"/w/acme/data/{dataset.pk}/edit/", said).status_code == 403
    assert dora_client.post(f"/w/acme/data/{dataset.pk}/edit/", said).status_code == 302
    dataset.refresh_from_db()
    assert dataset.attribution == "CC BY 4.0"

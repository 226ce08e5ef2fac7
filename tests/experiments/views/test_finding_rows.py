"""The rows behind a finding of the gate, on the page of a version: which, beside which, and at what price."""

import re

import pytest
from django.core.cache import cache

from experiments.models import DatasetVersion
from tests.factories import make_dataset_version
from tests.upload_data import CSV, map_it, page_of, work_off

NAMES = ("duplicates", "split_overlap", "contradicting_labels")


@pytest.fixture(autouse=True)
def _nothing_found_yet():
    cache.clear()


def make_version(workspace, rows) -> DatasetVersion:
    findings = [{"code": code, "severity": "notes", "sentence": f"{code} here."} for code in (*NAMES, "uneven_labels")]
    return make_dataset_version(workspace, rows, gate_report={"findings": findings})


@pytest.fixture
def version(workspace):
    rows = [("train", "one", "a"), ("train", "two", "b"), ("train", "ONE", "b"), ("train", "two", "b"), ("test", "two", "b")]
    return make_version(workspace, [*rows, ("validation", "three", "a")])


def rows_shown(client, version, query) -> list[tuple[int, int | None]]:
    """The numbers in the first column, each with the number that it is said to repeat."""
    page = client.get(f"/w/acme/data/versions/{version.pk}/?{query}").content.decode()
    cells = re.findall(r'<td class="num muted">\s*(\d+)\s*(?:<span class="cell-note">repeats (\d+)</span>)?', page)
    return [(int(number), int(twin) if twin else None) for number, twin in cells]


def test_each_finding_about_rows_leads_to_them(client_for, bob, version):
    page = page_of(client_for(bob), version)

    assert [name for name in (*NAMES, "uneven_labels") if f'href="?finding={name}#rows">Show the rows' in page] == list(NAMES)


def test_a_repeated_row_stands_below_the_row_that_it_repeats(client_for, bob, version):
    client = client_for(bob)

    assert rows_shown(client, version, "finding=duplicates") == [(1, None), (3, 1), (2, None), (4, 2)]
    assert rows_shown(client, version, "finding=split_overlap") == [(2, None), (5, 2)]
    assert rows_shown(client, version, "finding=contradicting_labels") == [(1, None), (3, 1)]
    assert len(rows_shown(client, version, "finding=nonsense")) == 6


def test_a_pair_stays_when_one_of_both_matches_the_other_filters(client_for, bob, version):
    client = client_for(bob)

    assert rows_shown(client, version, "finding=duplicates&label=a") == [(1, None), (3, 1)]
    assert rows_shown(client, version, "finding=split_overlap&split=train") == [(2, None), (5, 2)]
    assert rows_shown(client, version, "finding=split_overlap&q=one") == []


def test_the_warning_about_test_rows_stands_above_a_row_of_train_beside_one_of_test(client_for, bob, version):
    page = client_for(bob).get(f"/w/acme/data/versions/{version.pk}/?finding=split_overlap&split=train").content.decode()

    assert "Test rows are among these." in page


def test_pages_of_found_rows_begin_with_the_row_that_they_repeat(client_for, bob, workspace):
    version = make_version(workspace, [("train", "same", "a")] * 61)
    client = client_for(bob)

    first = rows_shown(client, version, "finding=duplicates")
    last = rows_shown(client, version, "finding=duplicates&after=50")

    assert first == [(1, None), *((number, 1) for number in range(2, 27))]
    assert last == [(1, None), *((number, 1) for number in range(52, 62))]
    assert rows_shown(client, version, "finding=duplicates&before=25") == first
    page = client.get(f"/w/acme/data/versions/{version.pk}/?finding=duplicates&after=25").content.decode()
    assert "60 rows match, each below the row that it repeats" in page
    assert "?finding=duplicates&amp;after=50#rows" in page
    assert "?finding=duplicates&amp;before=25#rows" in page


@pytest.mark.parametrize("rows", [4, 400])
def test_found_rows_cost_the_same_number_of_queries_however_many_there_are(client_for, bob, workspace, rows, django_assert_max_num_queries):
    version = make_version(workspace, [("train", f"text {number // 2}", "a") for number in range(rows)])
    client = client_for(bob)

    with django_assert_max_num_queries(11):
        assert rows_shown(client, version, "finding=duplicates&split=train")


def test_a_refused_draft_shows_the_rows_of_a_finding_too(upload, dora_client):
    upload(CSV + b"nobody has said what this is,\nmessage number 3,b\n")
    work_off()
    map_it(dora_client)
    work_off()
    version = DatasetVersion.objects.get()

    assert "?finding=empty_label#rows" in page_of(dora_client, version)
    assert rows_shown(dora_client, version, "finding=empty_label")[:1] == [(62, None)]
    assert rows_shown(dora_client, version, "finding=duplicates")[:2] == [(5, None), (63, 5)]
    page = dora_client.get(f"/w/acme/data/versions/{version.pk}/?finding=empty_label").content.decode()
    assert "nobody has said what this is" in page

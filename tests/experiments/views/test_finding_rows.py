"""The rows behind a finding of the gate, on the page of a version: which, beside which, and at what price."""

import re

import pytest
from django.core.cache import cache

from experiments.intake.gate import GateRow, gate_check
from experiments.models import DatasetVersion, Example, RowFinding
from experiments.services import datasets
from tests.factories import make_dataset_version
from tests.upload_data import CSV, map_it, page_of, work_off

NAMES = ("duplicates", "split_overlap", "contradicting_labels")


def make_version(workspace, rows) -> DatasetVersion:
    findings = [{"code": code, "severity": "notes", "sentence": f"{code} here."} for code in (*NAMES, "uneven_labels")]
    version = make_dataset_version(workspace, rows, gate_report={"findings": findings})
    found = gate_check(GateRow(number, (text,), label, split) for number, (split, text, label) in enumerate(rows, start=1)).found
    RowFinding.objects.bulk_create(
        RowFinding(version=version, code=code, place=place, position=row.number, twin=row.twin)
        for code in found
        for place, row in enumerate(found[code])
    )
    return version


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

    assert rows_shown(client, version, "finding=duplicates") == [(2, None), (4, 2)]
    assert rows_shown(client, version, "finding=split_overlap") == [(2, None), (5, 2)]
    assert rows_shown(client, version, "finding=contradicting_labels") == [(1, None), (3, 1)]
    assert len(rows_shown(client, version, "finding=nonsense")) == 6


def test_a_pair_stays_when_one_of_both_matches_the_other_filters(client_for, bob, version):
    client = client_for(bob)

    assert rows_shown(client, version, "finding=contradicting_labels&label=a") == [(1, None), (3, 1)]
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


def test_found_rows_are_shown_whatever_has_become_of_the_cache(client_for, bob, version, monkeypatch):
    def away(*_args, **_options):
        raise ConnectionError("nobody answers")

    client = client_for(bob)
    for question in ("get", "get_many", "set", "set_many", "add", "incr"):
        monkeypatch.setattr(type(cache), question, away, raising=False)

    assert rows_shown(client, version, "finding=split_overlap") == [(2, None), (5, 2)]


def test_a_version_from_before_rows_were_kept_offers_none(client_for, bob, version):
    version.row_findings.all().delete()

    assert "?finding=" not in page_of(client_for(bob), version)
    assert len(rows_shown(client_for(bob), version, "finding=duplicates")) == 6


@pytest.fixture
def refused(upload, dora_client) -> DatasetVersion:
    upload(CSV + b"nobody has said what this is,\nmessage number 3,b\n")
    work_off()
    map_it(dora_client)
    work_off()
    return DatasetVersion.objects.get()


def test_a_refused_draft_shows_the_rows_of_a_finding_too(refused, dora_client):
    version = refused

    assert "?finding=empty_label#rows" in page_of(dora_client, version)
    assert rows_shown(dora_client, version, "finding=empty_label")[:1] == [(62, None)]
    assert rows_shown(dora_client, version, "finding=duplicates")[:2] == [(5, None), (63, 5)]
    page = dora_client.get(f"/w/acme/data/versions/{version.pk}/?finding=empty_label").content.decode()
    assert "nobody has said what this is" in page


def test_a_refused_draft_says_how_many_of_the_rows_it_shows(upload, dora_client, monkeypatch):
    monkeypatch.setattr(datasets, "REFUSED_ROWS", 2)
    upload(CSV + b"unsaid,\nnot said,\nsaid by nobody,\n")
    work_off()
    map_it(dora_client)
    work_off()
    version = DatasetVersion.objects.get()

    assert rows_shown(dora_client, version, "finding=empty_label")[:2] == [(62, None), (63, None)]
    assert version.row_findings.filter(code="empty_label").count() == 2
    page = dora_client.get(f"/w/acme/data/versions/{version.pk}/?finding=empty_label").content.decode()
    assert "The first 2 of 3 rows can be looked at here." in page


def test_the_findings_of_a_draft_go_when_its_columns_are_mapped_anew(refused, dora_client):
    map_it(dora_client, leave_out_empty="on")

    assert not RowFinding.objects.exists()
    work_off()
    assert list(RowFinding.objects.values_list("position", "twin")) == [(63, 5)]
    assert Example.objects.count() == 61


def test_the_rows_of_a_refused_draft_are_for_its_page_alone(refused, dora_client):
    assert set(refused.examples.values_list("position", flat=True)) == {5, 62, 63}
    dora_client.post(f"/w/acme/data/versions/{refused.pk}/discard/")

    assert not Example.objects.exists()
    assert not RowFinding.objects.exists()

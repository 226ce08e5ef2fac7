import csv
import io

import pytest
from django.test import Client

from experiments.models import Experiment, Report, Role, Share
from tests.comparison_data import make_finished_experiment
from tests.factories import make_experiment


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, num_validation=12))


@pytest.fixture
def finished(made) -> Experiment:
    return Experiment.objects.get(pk=made.pk)


@pytest.fixture
def report(call, finished):
    return call("post", f"experiments/{finished.pk}/reports", {"title": "For the board"}).json()


def test_report_freezes_what_was_computed(call, report):
    read = call("get", f"reports/{report['id']}").json()

    assert (read["title"], read["includes_prompts"]) == ("For the board", False)
    assert len(read["sha256"]) == 64
    assert call("get", "reports").json()["count"] == 1


def test_report_before_any_result_is_refused(call, workspace):
    answer = call("post", f"experiments/{make_experiment(workspace).pk}/reports", {})

    assert answer.status_code == 422
    assert "no results" in answer.json()["error"]["message"]


def test_report_is_read_as_json_and_as_csv(call, report):
    content = call("get", f"reports/{report['id']}/report.json").json()
    table = b"".join(call("get", f"reports/{report['id']}/table.csv").streaming_content).decode("utf-8-sig")

    assert content["title"] == "For the board"
    assert len(list(csv.reader(io.StringIO(table)))) > 2


def test_link_is_told_once_opens_signed_out_and_ends_when_revoked(call, report):
    link = call("post", f"reports/{report['id']}/shares", {"days": 7}).json()

    assert Client().get(link["url"]).status_code == 200
    assert link["url"].rsplit("/", 2)[1] not in call("get", f"reports/{report['id']}/shares").content.decode()

    assert call("delete", f"shares/{link['id']}").status_code == 204
    assert Client().get(link["url"]).status_code == 404
    assert Share.objects.get().revoked_at


@pytest.mark.parametrize("days", [0, 366, "soon", 2**63])
def test_link_without_a_sound_end_is_refused(call, report, days):
    assert call("post", f"reports/{report['id']}/shares", {"days": days}).status_code == 422
    assert not Share.objects.exists()


def test_viewers_key_reads_but_neither_makes_nor_shares(caller_for, workspace, finished, report):
    viewer = caller_for(workspace, Role.VIEWER)

    assert viewer("get", f"reports/{report['id']}").status_code == 200
    assert viewer("post", f"experiments/{finished.pk}/reports", {}).status_code == 403
    assert viewer("post", f"reports/{report['id']}/shares", {}).status_code == 403
    assert (Report.objects.count(), Share.objects.count()) == (1, 0)

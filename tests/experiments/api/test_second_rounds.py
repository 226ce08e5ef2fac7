"""Training on mistakes by API: find, read, launch once."""

import pytest

from experiments.models import Focus
from tests.second_round_data import answer_train_rows, make_tuned_run


@pytest.fixture
def run(workspace):
    return make_tuned_run(workspace)


def test_mistakes_are_found_and_read_by_row_number(call, run):
    assert call("get", f"runs/{run.pk}/mistakes").status_code == 404
    assert call("post", f"runs/{run.pk}/mistakes").json()["state"] == "queued"
    answer_train_rows(run, [4.0, -1.0, 0.1, 4.0])

    answer = call("get", f"runs/{run.pk}/mistakes?odds=1.5").json()

    assert (answer["num_rows"], answer["num_wrong"], answer["num_close"]) == (4, 1, 1)
    assert [(row["row"], row["is_wrong"]) for row in answer["rows"]] == [(2, True), (3, False)]


def test_second_round_is_launched_once_with_its_lineage(call, run):
    answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])
    body = {"times": 3, "left_out": [1], "has_control": False}

    first, again = (call("post", f"runs/{run.pk}/second-round", body, **{"Idempotency-Key": "monday"}) for _ in range(2))

    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    focused = first.json()["approaches"][-1]
    assert focused["start_from"] == str(run.artifact.pk)
    assert focused["focus"] == {"run": str(run.pk), "times": 3, "odds": 2.0, "num_rows": 1, "num_left_out": 1}
    assert Focus.objects.count() == 1


def test_row_that_the_data_lacks_is_refused(call, run):
    answer_train_rows(run, [-1.0, 4.0, 4.0, 4.0])

    answer = call("post", f"runs/{run.pk}/second-round", {"left_out": [999]})

    assert answer.status_code == 422
    assert "The data has no row 999" in answer.json()["error"]["message"]

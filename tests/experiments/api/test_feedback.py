"""Marks by API: given, changed and taken back by the person who made the key, and listed for everybody."""

import pytest

from experiments.models import Role
from tests.second_round_data import answer_train_rows, make_tuned_run


@pytest.fixture
def run(workspace):
    run = make_tuned_run(workspace)
    answer_train_rows(run, [-1.0, -2.0, 4.0, 4.0])
    return run


def test_marks_are_given_changed_and_listed(call, run):
    call("post", f"runs/{run.pk}/feedback", {"row": 2, "verdict": "wrong"})
    call("post", f"runs/{run.pk}/feedback", {"row": 1, "verdict": "wrong"})
    answer = call("post", f"runs/{run.pk}/feedback", {"row": 1, "verdict": "right", "note": " It is about a parcel "})

    assert answer.status_code == 200
    listed = call("get", f"runs/{run.pk}/feedback").json()
    assert listed["items"][0] == answer.json()
    assert listed["count"] == 2
    assert {name: answer.json()[name] for name in ("row", "label", "answer", "verdict", "note", "doubts_label", "by")} == {
        "row": 1,
        "label": "refund",
        "answer": "delivery",
        "verdict": "right",
        "note": "It is about a parcel",
        "doubts_label": True,
        "by": "Alice",
    }
    assert [row["is_doubted"] for row in call("get", f"runs/{run.pk}/mistakes").json()["rows"]] == [False, True]


def test_mark_is_taken_back(call, run):
    call("post", f"runs/{run.pk}/feedback", {"row": 1, "verdict": "wrong"})

    assert call("delete", f"runs/{run.pk}/feedback/1").status_code == 204
    assert call("get", f"runs/{run.pk}/feedback").json()["count"] == 0


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"row": 8, "verdict": "wrong"}, "Row 8 is a test row, and those only judge"),
        ({"row": 5, "verdict": "wrong"}, "Row 5 is a validation row, and those only judge"),
        ({"row": 1, "verdict": "perhaps"}, "look at: verdict"),
        ({"row": 1, "verdict": "wrong", "note": "a\0b"}, "look at: note"),
    ],
)
def test_mark_that_is_refused_says_why(call, run, body, sentence):
    answer = call("post", f"runs/{run.pk}/feedback", body)

    assert answer.status_code == 422
    assert sentence in answer.json()["error"]["message"]


def test_key_of_a_viewer_lists_only(caller_for, workspace, run):
    reader = caller_for(workspace, Role.VIEWER)

    assert reader("get", f"runs/{run.pk}/feedback").status_code == 200
    assert reader("post", f"runs/{run.pk}/feedback", {"row": 1, "verdict": "wrong"}).status_code == 403
    assert reader("delete", f"runs/{run.pk}/feedback/1").status_code == 403

import pytest
from django.test import Client

from experiments.models import Role
from experiments.services.keys import api_key_revoke
from tests.experiments.api.conftest import Caller
from tests.factories import make_backbone


def test_good_key_opens_the_api(call):
    assert call("get", "backbones").status_code == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer plk_nonsense", "Basic YTpi", "Bearer x\x00y", "bearer plk_é"])
def test_every_other_credential_gets_one_401_answer(db, header):
    answer = Client().get("/api/v1/backbones", headers={"Authorization": header} if header is not None else {})

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_browser_session_alone_never_opens_the_api(client_for, alice, workspace):
    browser = client_for(alice)

    assert browser.get("/api/v1/backbones").status_code == 401
    assert browser.post("/api/v1/experiments", data={}, content_type="application/json").status_code == 401


def test_revoked_key_is_refused_at_once(call, alice):
    api_key_revoke(key=call.key, by=alice)

    assert call("get", "backbones").status_code == 401


def test_key_of_another_workspace_sees_nothing_of_ours(caller_for, charlie, workspace):
    backbone = make_backbone(workspace)
    stranger = caller_for(charlie.memberships.get().workspace)

    assert stranger("get", f"backbones/{backbone.pk}").status_code == 404
    assert stranger("get", "backbones").json() == {"items": [], "count": 0}


def test_key_with_too_little_role_is_told_which_role_it_needs(caller_for, workspace):
    answer = caller_for(workspace, Role.VIEWER)("post", "backbones", {"name": "x", "folder": "/models/x"})

    assert answer.status_code == 403
    assert "ML engineer" in answer.json()["error"]["message"]


def test_guessing_keys_is_stopped_after_ten_tries_and_good_keys_go_on(call, one_window):
    guesses = [Caller(f"plk_{number}")("get", "backbones").status_code for number in range(12)]

    assert guesses == [401] * 10 + [429] * 2
    assert call("get", "backbones").status_code == 200


def test_a_key_that_calls_too_often_is_told_how_long_to_wait(call, one_window, monkeypatch):
    monkeypatch.setattr("experiments.api.auth.CALLS_PER_KEY", 2)

    answers = [call("get", "backbones") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1]["Retry-After"]) <= 60
    assert answers[-1].json()["error"]["code"] == "too_many_requests"

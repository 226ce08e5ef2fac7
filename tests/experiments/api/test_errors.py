from uuid import uuid4

import pytest
from django.test import Client


def error_of(answer):
    assert answer["Content-Type"].startswith("application/json")
    error = answer.json()["error"]
    assert set(error) - {"reference"} == {"code", "message", "fields"}
    assert error["message"][-1] in ".”" or error["message"]
    return error


def test_unknown_noun_is_404_in_json(call):
    assert error_of(call("get", f"backbones/{uuid4()}"))["code"] == "not_found"


@pytest.mark.parametrize("path", ["nothing", "backbones/not-an-id", "backbones/", "%00", "experiments//", "../w/"])
def test_unknown_address_is_404_in_json_with_and_without_a_key(call, path):
    assert error_of(call("get", path))["code"] == "not_found"
    assert Client().get(f"/api/v1/{path}").status_code == 404


def test_wrong_verb_is_405_in_json_and_names_the_right_ones(call):
    answer = call("delete", "backbones")

    assert answer.status_code == 405
    assert error_of(answer)["code"] == "method_not_allowed"
    assert set(answer["Allow"].split(", ")) == {"GET", "POST"}


def test_field_mistakes_are_named_without_repeating_what_was_sent(call):
    answer = call("post", "backbones", {"name": "", "dtype": "canary-value"})

    assert answer.status_code == 422
    assert set(error_of(answer)["fields"]) == {"name", "dtype"}
    assert "canary-value" not in answer.content.decode()


@pytest.mark.parametrize(
    "body", ["{", "[]", "null", '"text"', "\x00", '{"name": NaN}', '{"name": "a\\u0000b"}', '{"name": "\\ud800"}', "[" * 100_000]
)
def test_malformed_bodies_are_refused_and_never_break_the_server(call, body):
    answer = Client(raise_request_exception=False).post(
        "/api/v1/backbones", data=body, content_type="application/json", headers={"Authorization": f"Bearer {call.clear}"}
    )

    assert answer.status_code in (400, 422)
    error_of(answer)


def test_oversized_body_is_413(call, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

    assert call("post", "backbones", {"name": "x" * 200}).status_code == 413


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "offset=-1", "offset=99999999999999999999"])
def test_page_bounds_are_checked(call, query):
    assert call("get", f"backbones?{query}").status_code == 422


def test_unexpected_failure_is_500_in_json_with_the_reference_of_the_log(call, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("experiments.api.backbones.rows_for", broken)
    answer = call("get", "backbones")

    assert answer.status_code == 500
    assert "secret detail" not in answer.content.decode()
    assert error_of(answer)["reference"]

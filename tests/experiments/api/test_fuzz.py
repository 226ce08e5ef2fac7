"""Random bodies and parameters for every operation of the document: each answer is one that the document knows, never a server error."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.api import api
from experiments.api.errors import CODES
from experiments.models import Role
from tests.experiments.api.conftest import Caller
from tests.factories import make_backbone, make_dataset_version, make_experiment, make_template_version

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.just("\x00"), st.just(2**70), st.just("-1")
)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4), max_leaves=8
)


def operations() -> list[tuple[str, str, list[str]]]:
    """Verb, path and the names of the fields of the body."""
    document = api.get_openapi_schema(path_prefix="/api/v1/")
    found = []
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            schema = document["components"]["schemas"].get(body.get("$ref", "").rsplit("/", 1)[-1], {})
            found.append((verb, path.removeprefix("/api/v1/"), list(schema.get("properties", {}))))
    return found


@st.composite
def calls(draw: st.DrawFn, ids: dict[str, str]) -> tuple[str, str, Any]:
    """An operation on a real noun, with a body whose fields bear the right names and anything for a value."""
    verb, path, fields = draw(st.sampled_from(operations()))
    body = draw(
        st.fixed_dictionaries({}, optional={name: JSON | st.sampled_from(list(ids.values())) for name in fields}) if fields else JSON
    )
    query = draw(st.sampled_from(["", "?limit=5", "?limit=-1", "?offset=x", "?split=test", "?split=%00", "?timeout=0", "?timeout=x"]))
    return verb, path.format(**ids) + query, body


@pytest.mark.slow
@pytest.mark.parametrize("role", [Role.ML_ENGINEER, Role.VIEWER])
def test_no_call_breaks_the_server(role, caller_for, workspace, monkeypatch):
    monkeypatch.setattr("experiments.api.auth.CALLS_PER_KEY", 10**9)
    monkeypatch.setattr("experiments.api.datasets.wait_for", lambda happened, seconds: None)
    monkeypatch.setattr("experiments.api.experiments.wait_for", lambda happened, seconds: None)
    experiment, prompt, unknown = make_experiment(workspace), make_template_version(workspace), "00000000-0000-0000-0000-000000000000"
    version = make_dataset_version(workspace, dataset=experiment.dataset_version.dataset)
    ids = {
        "backbone_id": str(make_backbone(workspace).pk),
        "dataset_id": str(version.dataset_id),
        "version_id": str(version.pk),
        "prompt_id": str(prompt.template_id),
        "experiment_id": str(experiment.pk),
        "run_id": unknown,
        "report_id": unknown,
        "share_id": unknown,
        "row": "1",
    }
    caller: Caller = caller_for(workspace, role)

    @settings(max_examples=400, suppress_health_check=list(HealthCheck), database=None)
    @given(calls(ids))
    def ask(call: tuple[str, str, Any]) -> None:
        verb, path, body = call
        answer = caller(verb, path, None if verb == "get" else body)
        assert answer.status_code < 500, (verb, path, body, answer.content)
        if answer.status_code >= 400:
            assert answer.json()["error"]["code"] in CODES.values(), (verb, path, body)

    ask()

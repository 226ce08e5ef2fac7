import pytest

from experiments.models import Backbone, Job, Role
from tests.factories import make_backbone


@pytest.fixture
def engineer(caller_for, workspace):
    return caller_for(workspace, Role.ML_ENGINEER)


def test_lists_the_bundled_model_and_the_workspaces_own(call, workspace):
    make_backbone(None, name="Starter")
    make_backbone(workspace, name="Ours", kind="local")

    answer = call("get", "backbones").json()

    assert [item["name"] for item in answer["items"]] == ["Starter", "Ours"]
    assert answer["count"] == 2


def test_registered_folder_is_verified_by_a_worker(engineer, settings, tmp_path):
    settings.MODEL_FOLDERS = [str(tmp_path)]
    (tmp_path / "mine").mkdir()

    answer = engineer("post", "backbones", {"name": "Mine", "folder": str(tmp_path / "mine")})

    assert answer.status_code == 201
    assert answer.json()["state"] == "waiting"
    assert Job.objects.get(kind="inspect").payload == {"backbone": answer.json()["id"]}


def test_folder_outside_the_allowed_ones_is_refused(engineer, settings, tmp_path):
    settings.MODEL_FOLDERS = [str(tmp_path)]

    answer = engineer("post", "backbones", {"name": "Mine", "folder": "/etc"})

    assert answer.status_code == 422
    assert not Backbone.objects.filter(name="Mine").exists()


def test_domain_experts_key_may_not_ask_for_a_verification(call):
    starter = make_backbone(None)

    assert call("post", f"backbones/{starter.pk}/verify").status_code == 403


HOSTED = {"name": "Far away", "url": "https://api.example.com/v1", "model": "mini"}


@pytest.fixture
def hosted(engineer):
    return engineer("post", "backbones", HOSTED | {"key": "sk-secret-of-a-test"}).json()


def test_registered_endpoint_has_a_key_that_no_answer_holds(engineer, hosted):
    answer = engineer("get", f"backbones/{hosted['id']}")

    assert (answer.json()["kind"], answer.json()["has_key"]) == ("hosted", True)
    assert "sk-secret" not in answer.content.decode()


def test_changed_endpoint_keeps_its_key_and_waits_for_a_worker(engineer, hosted):
    answer = engineer("put", f"backbones/{hosted['id']}", HOSTED | {"name": "Nearby", "limits": {"concurrency": 9}}).json()

    assert (answer["name"], answer["limits"]["concurrency"], answer["has_key"], answer["state"]) == ("Nearby", 9, True, "waiting")


@pytest.mark.parametrize("change", [{"url": "https://other.example.com/v1"}, {"key": ""}], ids=["other address", "empty key"])
def test_key_goes_with_its_address_or_by_an_empty_one(engineer, hosted, change):
    answer = engineer("put", f"backbones/{hosted['id']}", HOSTED | change)

    assert (answer.status_code, answer.json()["has_key"]) == (200, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"url": "https://10.0.0.8/v1"}, "ENDPOINT_PRIVATE_NETWORKS"), ({"key": "sk\nX: 1"}, "line break"), ({"model": ""}, "Name the model")],
)
def test_change_that_cannot_be_is_refused_in_a_sentence(engineer, hosted, change, words):
    answer = engineer("put", f"backbones/{hosted['id']}", HOSTED | change)

    assert answer.status_code == 422
    assert words in answer.json()["error"]["message"]


def test_model_on_the_workers_cannot_be_changed(engineer, workspace):
    answer = engineer("put", f"backbones/{make_backbone(workspace).pk}", HOSTED)

    assert answer.status_code == 422
    assert "Only a hosted model" in answer.json()["error"]["message"]


def test_domain_experts_key_may_not_change_an_endpoint(call, hosted):
    assert call("put", f"backbones/{hosted['id']}", HOSTED).status_code == 403

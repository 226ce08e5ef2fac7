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

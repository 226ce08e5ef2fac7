import pytest

from experiments.models import Backbone, Worker
from tests.factories import make_backbone, make_job, make_workspace


@pytest.fixture
def engineer(client_for, erin, workspace, settings, tmp_path):
    settings.MODEL_FOLDERS = [str(tmp_path)]
    return client_for(erin)


def test_engineer_registers_a_folder_and_lands_on_its_page(engineer, tmp_path):
    answer = engineer.post("/w/acme/library/models/new/", {"name": "Tiny", "place": "local", "folder": f"{tmp_path}/tiny", "dtype": "auto"})

    backbone = Backbone.objects.get(name="Tiny")
    assert answer["Location"] == f"/w/acme/library/models/{backbone.pk}/"
    assert "Being verified" in engineer.get(answer["Location"]).content.decode()


def test_refusal_stands_on_the_form(engineer):
    answer = engineer.post("/w/acme/library/models/new/", {"name": "Tiny", "place": "local", "folder": "/etc/x", "dtype": "auto"})

    assert answer.status_code == 422
    assert "must lie below" in answer.content.decode()


def test_only_places_that_the_operator_allows_are_offered(engineer):
    page = engineer.get("/w/acme/library/models/new/").content.decode()

    assert 'value="local"' in page
    assert 'value="hub"' not in page


def test_instance_without_other_places_says_so(engineer, settings):
    settings.MODEL_FOLDERS = []

    page = engineer.get("/w/acme/library/models/new/").content.decode()

    assert "MODEL_FOLDERS" in page
    assert 'value="hosted"' in page


def test_domain_expert_may_look_but_not_register(client_for, dora, workspace):
    backbone = make_backbone(workspace)

    assert client_for(dora).get(f"/w/acme/library/models/{backbone.pk}/").status_code == 200
    assert client_for(dora).get("/w/acme/library/models/new/").status_code == 403
    assert client_for(dora).post(f"/w/acme/library/models/{backbone.pk}/verify/").status_code == 403


def test_model_of_another_workspace_is_404_and_a_shared_one_is_everybodys(client_for, charlie, workspace):
    own, shared = make_backbone(workspace), make_backbone(None, name="Shared")

    assert client_for(charlie).get(f"/w/elsewhere/library/models/{own.pk}/").status_code == 404
    assert client_for(charlie).get(f"/w/elsewhere/library/models/{shared.pk}/").status_code == 200
    assert client_for(charlie).get(f"/w/acme/library/models/{shared.pk}/").status_code == 404


def test_model_is_not_shown_under_another_workspaces_address(client_for, alice, workspace):
    make_workspace("second", owner=alice)
    backbone = make_backbone(workspace)

    assert client_for(alice).get(f"/w/second/library/models/{backbone.pk}/").status_code == 404


def test_page_polls_while_a_worker_looks_and_says_when_no_worker_is_there(client_for, bob, workspace):
    backbone = make_backbone(workspace, job=make_job(workspace, kind="inspect", queue="interactive"))

    page = client_for(bob).get(f"/w/acme/library/models/{backbone.pk}/state/").content.decode()

    assert "every 2s" in page
    assert "notice-warn" in page
    assert not Worker.objects.exists()


def test_page_stops_polling_once_a_worker_has_answered(client_for, bob, workspace):
    job = make_job(workspace, kind="inspect", queue="interactive", state="failed")
    backbone = make_backbone(workspace, job=job, problem="The folder holds no safetensors file.")

    page = client_for(bob).get(f"/w/acme/library/models/{backbone.pk}/state/").content.decode()

    assert "hx-get" not in page
    assert "no safetensors file" in page

import pytest

from experiments.errors import UserError
from experiments.models import AuditEntry, Backbone, Job, JobState
from experiments.services.backbones import backbone_inspect, backbone_register_hub, backbone_register_local, backbone_verified
from tests.factories import make_backbone

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def models(settings, tmp_path):
    root = tmp_path / "models"
    (root / "tiny").mkdir(parents=True)
    settings.MODEL_FOLDERS = [str(root)]
    return root


def register(workspace, folder, name="Tiny"):
    return backbone_register_local(workspace=workspace, name=name, folder=str(folder), by=None)


def test_registered_folder_waits_for_a_worker(workspace, models):
    backbone = register(workspace, models / "tiny")

    assert backbone.source == str(models / "tiny")
    assert backbone.job.kind == "inspect"
    assert backbone.job.queue == "interactive"
    assert AuditEntry.objects.filter(verb="registered").count() == 1


@pytest.mark.parametrize("folder", ["{root}", "{root}/../secret", "/etc", "tiny", "", "{root}-evil/tiny", "{root}/tiny\0", "~/models"])
def test_folder_outside_the_allowed_ones_is_refused(workspace, models, folder):
    with pytest.raises(UserError):
        register(workspace, folder.format(root=models))

    assert not Backbone.objects.exists()


def test_link_that_leads_out_of_the_allowed_folder_is_refused(workspace, models, tmp_path):
    (tmp_path / "secret").mkdir()
    (models / "link").symlink_to(tmp_path / "secret")

    with pytest.raises(UserError, match="must lie below"):
        register(workspace, models / "link")


def test_name_in_use_is_refused_and_no_job_is_left(workspace, models):
    register(workspace, models / "tiny")

    with pytest.raises(UserError, match="exists already"):
        register(workspace, models / "tiny")

    assert Job.objects.count() == 1


def test_hub_is_off_unless_the_operator_allows_it(workspace):
    with pytest.raises(UserError, match="HF_HUB_ALLOWED"):
        backbone_register_hub(workspace=workspace, name="x", repository="a/b", revision=COMMIT, by=None)


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:39], COMMIT.upper(), ""])
def test_revision_that_can_move_is_refused(workspace, settings, revision):
    settings.HF_HUB_ALLOWED = True

    with pytest.raises(UserError, match="full commit"):
        backbone_register_hub(workspace=workspace, name="x", repository="a/b", revision=revision, by=None)


@pytest.mark.parametrize("repository", ["", "gpt2", "a/b/c", "../etc/passwd", "a/..", "https://evil/x", "a b/c"])
def test_malformed_hub_id_is_refused(workspace, settings, repository):
    settings.HF_HUB_ALLOWED = True

    with pytest.raises(UserError, match="owner/model"):
        backbone_register_hub(workspace=workspace, name="x", repository=repository, revision=COMMIT, by=None)


def test_open_question_is_not_asked_twice(workspace):
    backbone = make_backbone(workspace)

    first = backbone_inspect(backbone=backbone, workspace=workspace, by=None)
    again = backbone_inspect(backbone=backbone, workspace=workspace, by=None)

    assert again == first


def test_refused_model_can_be_looked_at_again(workspace):
    backbone = make_backbone(workspace, problem="No safetensors file.")
    first = backbone_inspect(backbone=backbone, workspace=workspace, by=None)
    Job.objects.filter(pk=first.pk).update(state=JobState.FAILED)

    assert backbone_inspect(backbone=backbone, workspace=workspace, by=None) != first
    assert Backbone.objects.get(pk=backbone.pk).problem == ""


def test_what_a_worker_found_is_kept(workspace):
    backbone = make_backbone(workspace, verified_at=None, problem="old")

    backbone_verified(backbone=backbone, facts={"family": "llama"})

    backbone.refresh_from_db()
    assert (backbone.facts, backbone.problem, backbone.verified_at is None) == ({"family": "llama"}, "", False)

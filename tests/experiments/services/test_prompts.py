import pytest

from experiments.errors import UserError
from experiments.models import Example, Job, JobKind, Preview, PromptTemplate, Queue
from experiments.prompting.wording import PromptWording
from experiments.services import previews, prompts
from tests.factories import ROWS, make_backbone, make_dataset_version

GOOD = PromptWording(user="Which queue?\n{{text}}", answer_cue="Queue:")


@pytest.fixture
def version(workspace):
    return make_dataset_version(workspace, [*ROWS, ("unlabelled", "hello?", "")])


@pytest.fixture
def written(workspace, alice, version):
    return prompts.prompt_create(workspace=workspace, by=alice, name="Careful", wording=GOOD, dataset_version=version)


def rows(version, split: str) -> list[int]:
    return list(version.examples.filter(split=split).values_list("pk", flat=True))


def test_a_prompt_starts_with_version_1_and_knows_its_data(written, version):
    assert (written.number, written.template.dataset) == (1, version.dataset)
    assert written.answer_cue == "\nQueue:"


def test_changed_words_make_a_new_version_and_the_old_one_stays(written, version, alice):
    changed = PromptWording(user="Which one?\n{{text}}", answer_cue="Queue:")

    second = prompts.prompt_version_save(template=written.template, by=alice, wording=changed, dataset_version=version)

    written.refresh_from_db()
    assert (second.number, written.user) == (2, GOOD.user)


def test_unchanged_words_make_no_version(written, alice):
    again = prompts.prompt_version_save(template=written.template, by=alice, wording=GOOD)

    assert again == written
    assert written.template.versions.count() == 1


def test_a_bad_wording_stores_nothing_and_says_everything(workspace, alice, version):
    bad = PromptWording(user="{{txt}}", answer_words={"refund": ["delivery"]})

    with pytest.raises(prompts.BadPrompt) as refusal:
        prompts.prompt_create(workspace=workspace, by=alice, name="Bad", wording=bad, dataset_version=version)

    assert len(refusal.value.problems) == 2
    assert not PromptTemplate.objects.exists()


def test_a_name_is_taken_once_in_a_workspace(workspace, alice, written):
    with pytest.raises(UserError, match="named “Careful” already"):
        prompts.prompt_create(workspace=workspace, by=alice, name="Careful", wording=GOOD)


def test_only_train_rows_become_examples(version, workspace, alice):
    [shown] = prompts.demonstrations_of(version, rows(version, "train")[:1])
    assert shown["fields"] == {"text": "I want my money back"}

    for split in ("validation", "test", "unlabelled"):
        with pytest.raises(prompts.BadPrompt, match="Only train rows"):
            prompts.demonstrations_of(version, rows(version, split)[:1])

    leak = Example.objects.filter(version=version, split="test")[0]
    wording = PromptWording(user="{{text}}", demonstrations=[{"example": leak.pk, "fields": leak.fields, "label": leak.label}])
    with pytest.raises(prompts.BadPrompt, match="validation or test split"):
        prompts.prompt_create(workspace=workspace, by=alice, name="Leaky", wording=wording, dataset_version=version)


def test_production_moves_between_versions(written, alice):
    second = prompts.prompt_version_save(template=written.template, by=alice, wording=PromptWording(user="{{text}}"))

    prompts.prompt_alias_move(version=written, by=alice)
    prompts.prompt_alias_move(version=second, by=alice)

    assert [(alias.name, alias.version) for alias in written.template.aliases.all()] == [("production", second)]


def test_a_try_is_an_interactive_job_about_the_words_as_typed(version, alice):
    preview = previews.preview_create(
        dataset_version=version, backbone=make_backbone(), by=alice, wording=GOOD, example_ids=rows(version, "validation")
    )

    assert (preview.job.kind, preview.job.queue) == (JobKind.PREVIEW, Queue.INTERACTIVE)
    assert preview.job.payload == {"preview": str(preview.pk)}
    assert preview.wording["answer_cue"] == "\nQueue:"


@pytest.mark.parametrize("split", ["test", "unlabelled", None])
def test_a_try_never_shows_a_test_or_an_unlabelled_row(version, alice, split):
    wanted = rows(version, split) if split else []

    with pytest.raises(UserError, match="train or validation rows"):
        previews.preview_create(dataset_version=version, backbone=make_backbone(), by=alice, wording=GOOD, example_ids=wanted)

    assert not Preview.objects.exists()
    assert not Job.objects.exists()


def test_a_try_with_a_refused_model_says_why(version, alice):
    refused = make_backbone(problem="The folder has no config.json.")

    with pytest.raises(UserError, match=r"no config\.json"):
        previews.preview_create(dataset_version=version, backbone=refused, by=alice, wording=GOOD, example_ids=rows(version, "train")[:1])

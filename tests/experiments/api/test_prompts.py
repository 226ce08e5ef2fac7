import pytest

from experiments.models import AuditEntry, PromptTemplate, TemplateVersion
from tests.factories import make_dataset_version, make_template_version, make_workspace

WORDING = {"user": "Which queue?\n{{text}}", "answer_cue": "Queue:"}


@pytest.fixture
def data(workspace):
    return make_dataset_version(workspace)


def test_prompt_is_written_with_its_first_version(call, data):
    answer = call("post", "prompts", WORDING | {"name": "Careful", "dataset_version": str(data.pk)})

    assert answer.status_code == 201
    assert answer.json()["number"] == 1
    assert call("get", f"prompts/{answer.json()['prompt']}").json()["name"] == "Careful"


def test_trail_names_the_key_that_wrote_it(call, data):
    call("post", "prompts", WORDING | {"name": "Careful"})

    assert "API key" in AuditEntry.objects.filter(target_name="Careful").get().actor_label


def test_demonstrations_are_train_rows_by_their_number(call, data):
    answer = call("post", "prompts", WORDING | {"name": "Shots", "dataset_version": str(data.pk), "demonstrations": [3, 1]})

    assert [shown["label"] for shown in answer.json()["demonstrations"]] == ["delivery", "refund"]


@pytest.mark.parametrize(("rows", "sentence"), [([7], "train rows"), ([99], "no row 99")])
def test_rows_that_may_not_be_shown_are_refused(call, data, rows, sentence):
    answer = call("post", "prompts", WORDING | {"name": "Shots", "dataset_version": str(data.pk), "demonstrations": rows})

    assert answer.status_code == 422
    assert sentence in answer.json()["error"]["message"]
    assert not PromptTemplate.objects.exists()


@pytest.mark.parametrize("change", [{"user": "no slot"}, {"user": "{{nope}}"}, {"answer_words": {"refund": ["x"], "delivery": ["x"]}}])
def test_wording_that_does_not_fit_is_refused(call, data, change):
    answer = call("post", "prompts", WORDING | {"name": "Bad", "dataset_version": str(data.pk)} | change)

    assert answer.status_code == 422
    assert not PromptTemplate.objects.exists()


def test_template_languages_are_only_text(call, data):
    answer = call("post", "prompts", {"name": "x", "user": "{% load x %}{{ 7*7 }} {{text}} ${7*7}", "dataset_version": str(data.pk)})

    assert "49" not in answer.content.decode()


def test_same_words_again_are_the_same_version_and_new_words_a_new_one(call, data):
    first = call("post", "prompts", WORDING | {"name": "Careful"}).json()

    again = call("post", f"prompts/{first['prompt']}/versions", WORDING).json()
    changed = call("post", f"prompts/{first['prompt']}/versions", WORDING | {"system": "Be brief."}).json()

    assert again["id"] == first["id"]
    assert changed["number"] == 2


def test_promoted_version_is_named_production(call, workspace):
    version = make_template_version(workspace)

    answer = call("post", f"prompt-versions/{version.pk}/promote").json()

    assert answer["aliases"] == {"production": str(version.pk)}


def test_data_of_another_workspace_cannot_be_named(call, data):
    foreign = make_dataset_version(make_workspace("other"))

    answer = call("post", "prompts", WORDING | {"name": "x", "dataset_version": str(foreign.pk), "demonstrations": [1]})

    assert answer.status_code == 404
    assert not TemplateVersion.objects.exists()


def test_prompt_of_two_steps_is_written_and_read(call, data):
    step = {"text": "What does the customer want? {{text}}", "max_tokens": 12}
    body = {"name": "Thinks", "user": "Wish: {{step_1}}\n{{text}}", "dataset_version": str(data.pk), "first_step": step}

    answer = call("post", "prompts", body)

    assert answer.status_code == 201
    assert answer.json()["first_step"] == step | {"stop": ["\n"]}
    assert TemplateVersion.objects.get().first_step == step | {"stop": ["\n"]}
    assert call("post", f"prompts/{answer.json()['prompt']}/versions", body | {"first_step": None}).status_code == 422


@pytest.mark.parametrize(
    "step",
    [
        {"text": "no slot"},
        {"text": "{{step_1}}"},
        {"text": "{{text}}", "max_tokens": 0},
        {"text": "{{text}}", "stop": ["\0"]},
        {"text": "\0"},
    ],
)
def test_first_step_that_cannot_work_is_refused(call, data, step):
    body = {"name": "Thinks", "user": "Wish: {{step_1}}", "dataset_version": str(data.pk), "first_step": step}

    assert call("post", "prompts", body).status_code == 422
    assert not PromptTemplate.objects.exists()

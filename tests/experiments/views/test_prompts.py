import re

import pytest
from django.utils import timezone

from experiments.models import Example, PromptTemplate, TemplateVersion, TestOpening
from tests.factories import make_dataset_version, make_experiment, make_membership, make_template_version

GOOD = {"name": "Careful", "user": "Which queue?\r\n{{text}}", "answer_cue": "Queue:"}


@pytest.fixture
def version(workspace):
    return make_dataset_version(workspace)


def text_of(response) -> str:
    return str(response.content.decode())


# --- list and versions ----------------------------------------------------------------------------------------------------


def test_the_list_shows_prompts_to_everybody_in_the_workspace(client_for, bob, workspace):
    make_template_version(workspace)

    page = text_of(client_for(bob).get("/w/acme/prompts/"))

    assert "Careful" in page
    assert "Write a prompt" not in page


def test_a_stranger_sees_no_prompt(client_for, charlie, workspace):
    written = make_template_version(workspace)
    client = client_for(charlie)

    for address in ("/w/acme/prompts/", "/w/acme/prompts/new/", f"/w/acme/prompts/{written.template_id}/"):
        assert client.get(address).status_code == 404
    assert client.post(f"/w/acme/prompts/versions/{written.pk}/promote/").status_code == 404


def test_a_prompt_is_found_only_below_its_own_workspace(client_for, charlie, workspace):
    make_membership(workspace, charlie)
    written = make_template_version(workspace)

    assert client_for(charlie).get(f"/w/elsewhere/prompts/{written.template_id}/").status_code == 404


def test_pages_refuse_the_wrong_verb(dora_client, workspace):
    written = make_template_version(workspace)

    assert dora_client.post("/w/acme/prompts/").status_code == 405
    assert dora_client.delete("/w/acme/prompts/new/").status_code == 405
    for address in ("preview/", "try/", f"versions/{written.pk}/promote/"):
        assert dora_client.get(f"/w/acme/prompts/{address}").status_code == 405


@pytest.mark.parametrize("rows", [1, 20])
def test_the_list_asks_the_same_number_of_questions_however_much_there_is(client_for, bob, workspace, rows, django_assert_max_num_queries):
    for number in range(rows):
        written = make_template_version(workspace, name=f"No. {number}")
        make_template_version(workspace, template=written.template)
    client = client_for(bob)

    with django_assert_max_num_queries(8):
        assert client.get("/w/acme/prompts/").status_code == 200


@pytest.mark.parametrize("rows", [1, 20])
def test_a_prompt_asks_the_same_number_of_questions_however_many_versions_it_has(
    client_for, bob, workspace, rows, django_assert_max_num_queries
):
    written = make_template_version(workspace)
    for _ in range(rows):
        make_template_version(workspace, template=written.template)
    client = client_for(bob)

    with django_assert_max_num_queries(9):
        assert client.get(f"/w/acme/prompts/{written.template_id}/").status_code == 200


def test_the_newest_version_is_shown_with_what_changed(client_for, bob, workspace):
    first = make_template_version(workspace, user="Which?\n{{text}}")
    make_template_version(workspace, template=first.template, user="Which queue?\n{{text}}")

    page = text_of(client_for(bob).get(f"/w/acme/prompts/{first.template_id}/"))

    assert "<ins>Which queue?</ins>" in page
    assert "<del>Which?</del>" in page
    assert "Edit</a>" not in page  # bob may only read


def test_a_prompt_written_after_the_test_was_seen_is_marked(client_for, bob, workspace, version):
    TestOpening.objects.create(version=version, experiment=make_experiment(workspace, dataset_version=version))
    written = make_template_version(workspace)
    PromptTemplate.objects.update(dataset=version.dataset)
    address = f"/w/acme/prompts/{written.template_id}/"

    assert "Written after the test was seen" in text_of(client_for(bob).get(address))

    TestOpening.objects.update(opened_at=timezone.now())
    assert "Written after the test was seen" not in text_of(client_for(bob).get(address))


def test_whoever_may_write_makes_a_version_production(dora_client, client_for, bob, workspace):
    written = make_template_version(workspace)

    assert client_for(bob).post(f"/w/acme/prompts/versions/{written.pk}/promote/").status_code == 403
    page = text_of(dora_client.post(f"/w/acme/prompts/versions/{written.pk}/promote/", follow=True))

    assert written.aliases.get().name == "production"
    assert "“production” now points at" in page


def test_a_prompt_can_be_renamed(dora_client, workspace):
    written = make_template_version(workspace)
    make_template_version(workspace, name="Bare")
    address = f"/w/acme/prompts/{written.template_id}/rename/"

    assert "named “Bare” already" in text_of(dora_client.post(address, {"name": "Bare"}))
    assert dora_client.post(address, {"name": "Very careful"}).status_code == 302


# --- the editor -----------------------------------------------------------------------------------------------------------


def test_without_data_the_editor_says_that_data_comes_first(dora_client):
    assert "Data comes first" in text_of(dora_client.get("/w/acme/prompts/new/"))


def test_the_editor_begins_with_a_prompt_that_works(dora_client, version):
    page = text_of(dora_client.get("/w/acme/prompts/new/"))

    assert "Choose from: refund, delivery." in page
    assert "errorlist" not in page
    assert 'data-insert="{{text}}"' in page


def test_a_prompt_is_saved_and_saving_it_unchanged_makes_no_version(dora_client, version):
    saved = dora_client.post("/w/acme/prompts/new/", {**GOOD, "data": version.pk})
    edit = f"{saved.url}edit/"
    page = text_of(dora_client.post(edit, {**GOOD, "data": version.pk}, follow=True))

    assert "Nothing was changed" in page
    assert TemplateVersion.objects.get().user == "Which queue?\n{{text}}"

    dora_client.post(edit, {**GOOD, "data": version.pk, "user": "Which one? {{text}}"})
    assert TemplateVersion.objects.count() == 2


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"user": "Which queue?"}, "user"),
        ({"user": "{{txt}}"}, "user"),
        ({"system": "You know {{label}}."}, "system"),
        ({"first_text": "Shorten {{txt}}.", "user": "{{step_1}}"}, "first_text"),
        ({"first_text": "Shorten {{text}}."}, "user"),
    ],
)
def test_a_refused_slot_marks_the_text_in_which_it_stands(dora_client, version, typed, field):
    page = dora_client.post("/w/acme/prompts/new/", {**GOOD, "data": version.pk, **typed}).content.decode()

    assert re.findall(r'<(?:textarea|input) [^>]*name="(\w+)"[^>]*aria-invalid="true"', page) == [field]
    assert re.search(rf'aria-describedby="[^"]*id_{field}_error"', page)
    assert f'id="id_{field}_error"' in page


def test_a_viewer_may_not_write(client_for, bob, version):
    assert client_for(bob).get("/w/acme/prompts/new/").status_code == 403
    assert client_for(bob).post("/w/acme/prompts/new/", {**GOOD, "data": version.pk}).status_code == 403


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"user": "Which queue?"}, "has no slot"),
        ({"user": "{{txt}}"}, "Did you mean {{text}}?"),
        ({"user": "{{text}} {{label}}"}, "would show the answer"),
        ({"word-0": "delivery"}, "stands for both"),
        ({"user": ""}, "Write what the model should do"),
        ({"name": ""}, "This field is required"),
        ({"user": "{{text}}\0"}, "Null characters are not allowed"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused_in_a_sentence_and_what_was_typed_stays(dora_client, version, typed, sentence):
    response = dora_client.post("/w/acme/prompts/new/", {**GOOD, "data": version.pk, **typed})

    assert response.status_code == 422
    assert sentence in text_of(response)
    assert "Queue:" in text_of(response)
    assert not PromptTemplate.objects.exists()


def test_examples_are_found_added_drawn_and_removed_without_saving(dora_client, version):
    train = list(version.examples.filter(split="train"))
    secret = version.examples.get(fields__text="give me back my payment")

    def press(**button) -> str:
        return text_of(dora_client.post("/w/acme/prompts/new/", {**GOOD, "data": version.pk, **button}))

    def chosen(example: Example) -> str:
        return f'name="demonstration" value="{example.pk}"'

    assert f'value="{train[3].pk}"' in press(find=1, find_text="courier")
    assert "give me back my payment" not in press(find=1, find_text="payment")
    assert chosen(train[0]) in press(add=train[0].pk)
    assert chosen(secret) not in press(add=secret.pk)
    assert chosen(train[0]) not in press(demonstration=train[0].pk, remove=train[0].pk)
    assert press(draw=1).count('name="demonstration"') == 2
    assert "Train rows found" not in press(draw=1), "nobody asked for rows"
    assert not PromptTemplate.objects.exists()


def test_chosen_examples_are_saved_with_the_prompt(dora_client, version):
    train = version.examples.filter(split="train").first()

    dora_client.post("/w/acme/prompts/new/", {**GOOD, "data": version.pk, "demonstration": train.pk})

    assert TemplateVersion.objects.get().demonstrations == [{"example": train.pk, "fields": train.fields, "label": train.label}]


def test_data_of_another_workspace_cannot_be_written_for(client_for, charlie, version):
    response = client_for(charlie).get(f"/w/elsewhere/prompts/new/?data={version.pk}")

    assert response.status_code == 404


@pytest.mark.parametrize("data", ["nonsense", "00000000-0000-0000-0000-000000000000"])
def test_data_that_does_not_exist_is_not_found(dora_client, version, data):
    assert dora_client.get(f"/w/acme/prompts/new/?data={data}").status_code == 404


# --- the live preview -----------------------------------------------------------------------------------------------------


def preview(client, version, **typed) -> str:
    return text_of(client.post("/w/acme/prompts/preview/", {**GOOD, "data": version.pk, **typed}))


def test_the_preview_fills_the_prompt_with_a_validation_row_and_never_a_test_row(dora_client, version):
    shown = [preview(dora_client, version, row=number) for number in range(4)]

    assert '<mark title="text">can I get a refund</mark>' in shown[0]
    assert "my package is late" in shown[1]
    assert "can I get a refund" in shown[2]  # counted around
    tests = version.examples.filter(split="test").values_list("fields__text", flat=True)
    assert not any(text in answer for text in tests for answer in shown)


def test_the_preview_says_what_is_wrong_while_it_is_typed(dora_client, version):
    assert "Did you mean {{text}}?" in preview(dora_client, version, user="{{txt}}")
    assert "has no slot" in preview(dora_client, version, user="")


def test_markup_in_a_row_stays_text(dora_client, workspace):
    version = make_dataset_version(workspace, [("validation", "<img src=x onerror=alert(1)>", "a"), ("train", "x", "b")])

    answer = preview(dora_client, version, user="<b>{{text}}</b>")

    assert "&lt;img" in answer
    assert "<img" not in answer
    assert "&lt;b&gt;" in answer

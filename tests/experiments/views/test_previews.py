import pytest

from experiments.models import Job, JobState, Preview
from tests.factories import make_backbone, make_dataset_version, make_template_version

GOOD = {"user": "Which queue?\n{{text}}", "answer_cue": "Queue:"}
HTMX = {"HX-Request": "true"}


@pytest.fixture
def version(workspace):
    return make_dataset_version(workspace)


@pytest.fixture
def backbone(db):
    return make_backbone()


@pytest.fixture
def try_it(client_for, dora, version, backbone):
    def send(htmx: bool = True, **typed):
        data = {**GOOD, "data": version.pk, "backbone": backbone.pk, **typed}
        return client_for(dora).post("/w/acme/prompts/try/", data, headers=HTMX if htmx else {})

    return send


def finish(preview: Preview, **second: str | int) -> None:
    """Let a try have answered: one row right, and a second one as it is given."""
    answers = {"refund": -0.5, "delivery": -2.5}
    row = {
        "id": "1",
        "expected": "refund",
        "predicted": "refund",
        "loglikelihoods": answers,
        "prompt_tokens": 17,
        "prompt": "Which <queue>?",
    }
    rows = [{**row, "position": 5, "split": "validation"}, *([{**row, "id": "2", **second}] if second else [])]
    preview.result = {"rows": rows, "result": {"warnings": ["Slow today."]}}
    preview.save()
    Job.objects.filter(pk=preview.job_id).update(state=JobState.SUCCEEDED)


def test_a_try_waits_says_that_no_worker_is_running_and_then_shows_the_answers(try_it, client_for, dora):
    waiting = try_it().content.decode()
    assert "Asking the model" in waiting
    assert "No worker for trying prompts" in waiting

    preview = Preview.objects.get()
    finish(preview)
    answer = client_for(dora).get(f"/w/acme/prompts/tries/{preview.pk}/state/").content.decode()

    assert "Which &lt;queue&gt;?" in answer
    assert "17 tokens" in answer
    assert "88.1%" in answer
    assert "Slow today." in answer
    assert "hx-get" not in answer


@pytest.mark.parametrize(
    ("second", "total"),
    [({"predicted": "refund"}, "2 of 2 right"), ({"predicted": "delivery"}, "1 of 2 right"), ({"error": "Too long."}, "1 of 2 right")],
)
def test_a_try_counts_its_right_answers_and_says_that_they_are_few(try_it, client_for, dora, second, total):
    try_it()
    preview = Preview.objects.get()
    finish(preview, **second)

    answer = client_for(dora).get(f"/w/acme/prompts/tries/{preview.pk}/state/").content.decode()

    assert total in answer
    assert "a small sample" in answer


def test_tokens_that_an_endpoint_did_not_tell_are_not_said_to_be_none(try_it, client_for, dora):
    try_it()
    preview = Preview.objects.get()
    finish(preview, prompt_tokens=0)

    answer = client_for(dora).get(f"/w/acme/prompts/tries/{preview.pk}/state/").content.decode()

    assert "17 tokens" in answer
    assert "0 tokens" not in answer


def test_without_script_a_try_has_a_page_of_its_own(try_it, client_for, dora):
    response = try_it(htmx=False)

    assert response.status_code == 302
    assert "Asking the model" in client_for(dora).get(response.url).content.decode()


def test_a_failed_try_says_why(try_it, client_for, dora):
    try_it()
    Job.objects.update(state=JobState.FAILED, error="The model is missing.")

    page = client_for(dora).get(f"/w/acme/prompts/tries/{Preview.objects.get().pk}/").content.decode()

    assert "The model is missing." in page


def test_a_prompt_that_cannot_work_is_not_tried(try_it):
    assert "has no slot" in try_it(user="nothing").content.decode()
    assert try_it(htmx=False, user="nothing").status_code == 422
    assert "choose a model first" in try_it(backbone="").content.decode()
    assert not Job.objects.exists()


def test_a_try_uses_no_test_row_and_knows_its_prompt(try_it, version, workspace):
    written = make_template_version(workspace)

    try_it(template=written.template_id, rows="other")

    preview = Preview.objects.get()
    assert preview.template == written.template
    assert not version.examples.filter(pk__in=preview.examples, split="test").exists()


def test_strangers_and_viewers_may_not_try(client_for, charlie, bob, version, backbone):
    data = {**GOOD, "data": version.pk, "backbone": backbone.pk}

    assert client_for(charlie).post("/w/acme/prompts/try/", data).status_code == 404
    assert client_for(bob).post("/w/acme/prompts/try/", data).status_code == 403


def test_a_stranger_sees_no_try_and_a_try_takes_no_post(try_it, client_for, charlie, dora):
    try_it()
    address = f"/w/acme/prompts/tries/{Preview.objects.get().pk}/"

    assert client_for(charlie).get(address).status_code == 404
    assert client_for(charlie).get(f"{address}state/").status_code == 404
    assert client_for(dora).post(address).status_code == 405

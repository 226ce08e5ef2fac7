"""Runs of a hosted model to their end, against scripted servers: what is asked, what is stored and what is said."""

import json

import pytest

from experiments.catalogue.recipes import recipe_options
from experiments.models import Backbone, CallState, EndpointCall, EndpointKey, Evaluation, Job, JobState, Prediction, Preview, Run
from experiments.services.jobs import job_retry
from tests.factories import make_experiment, make_job
from tests.workers.endpoint.server import Answer, completion, wait_until
from tests.workers.hosted.answering import FACTS, KEY, by_message, do

pytestmark = pytest.mark.django_db


def test_run_stores_predictions_scores_bill_and_latency(run):
    job = do(run.job)

    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    evaluation = run.evaluations.get()
    assert [(row.predicted, row.correct, row.prompt_tokens) for row in evaluation.predictions.order_by("example__position")] == [
        ("refund", True, 10),
        ("delivery", True, 10),
    ]
    assert evaluation.scores.get(metric="accuracy").value == 1.0
    assert evaluation.summary["endpoint"]["billed"] == {"input": 10.0, "output": 2.0, "cached": None}
    assert evaluation.summary["endpoint"]["latency"]["rows"] == 2
    assert set(EndpointCall.objects.values_list("state", "input_tokens")) == {(CallState.ANSWERED, 10)}


def test_prompt_reaches_the_endpoint_as_written(run, server):
    run.approach.template_version.demonstrations = [{"example": None, "fields": {"text": "pay me back"}, "label": "refund"}]
    run.approach.template_version.system = "Be short."
    run.approach.template_version.save()

    do(run.job)

    roles = [(message["role"], message["content"].split("\n")[-2:]) for message in server.asked[0]["messages"]]
    assert roles[:3] == [("system", ["Be short."]), ("user", ["Message: pay me back", "Queue:"]), ("assistant", ["refund"])]
    assert roles[3][1][1] == "Queue:"


def test_drawn_examples_reach_the_endpoint_the_same_for_every_row(run, server):
    run.approach.method, run.approach.recipe = "drawn_examples", recipe_options("few_shot_balanced", {"num_examples": 2, "draw_seed": 3})
    run.approach.save()

    job = do(run.job)

    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    shown = {json.dumps(asked["messages"][:-1]) for asked in server.asked}
    assert [len(json.loads(each)) for each in shown] == [4]
    run.refresh_from_db()
    drawn = run.result["written"]["examples"]["rows"]
    assert sorted(row["label"] for row in drawn) == ["delivery", "refund"]
    assert run.approach.experiment.dataset_version.examples.filter(split="train", pk__in=[row["id"] for row in drawn]).count() == 2


def test_text_that_is_no_label_counts_as_wrong_and_is_kept(run, server):
    server.always(Answer(completion("I cannot say.")))

    do(run.job)

    assert {(row.predicted, row.correct, row.text, row.error) for row in Prediction.objects.all()} == {("", False, "I cannot say.", "")}
    assert run.evaluations.get().summary["endpoint"]["read_by"] == {"no label": 2}


def test_log_probabilities_decide_where_they_are_told(run, server, hosted):
    Backbone.objects.filter(pk=hosted.pk).update(facts=FACTS | {"top_logprobs": 5})
    server.always(Answer(completion("Well", top=[[("Well", -0.2), ("ref", -2.0), ("del", -4.0)]])))

    do(run.job)

    assert set(Prediction.objects.values_list("predicted", flat=True)) == {"refund"}
    assert server.asked[0]["top_logprobs"] == 5


def test_key_is_sent_and_stands_nowhere_else(run, server, hosted, tmp_path, caplog, capfd):
    caplog.set_level("DEBUG")

    do(run.job)

    assert set(server.keys) == {f"Bearer {KEY}"}
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    nouns = (Backbone, EndpointKey, EndpointCall, Run, Job, Evaluation)
    stored = json.dumps([list(noun.objects.values()) for noun in nouns], default=str)
    for text in (written, stored, caplog.text, *capfd.readouterr()):
        assert KEY not in text


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (Answer({"error": {"message": "bad"}}, 401), "endpoint_refused", "does not accept the key (401)"),
        (Answer({"error": {"message": "unknown"}}, 404), "endpoint_refused", "has no model “tiny”"),
        (Answer(b"<html>welcome</html>"), "endpoint_garbled", "a web page instead of JSON"),
        (Answer(b"\xff\x00\xfe"), "endpoint_garbled", "no answer of an OpenAI-compatible API"),
        (Answer(b"", 429), "endpoint_busy", "asks to be called more slowly"),
        (Answer(silent=5.0), "endpoint_busy", "gave no answer within 1 seconds"),
        (Answer(drip=0.3), "endpoint_busy", "gave no answer within 1 seconds"),
    ],
    ids=["401", "wrong model", "html", "garbage", "429 for ever", "hangs", "drips"],
)
def test_bad_endpoint_ends_the_run_with_one_sentence(run, server, answer, kind, sentence):
    server.always(answer)

    job = do(run.job)

    assert (job.state, job.error_kind) == (JobState.FAILED, kind)
    assert sentence in job.error
    assert "0 rows of 2 are answered and kept, 2 are not." in job.error
    assert not EndpointCall.objects.filter(state=CallState.ASKED).exists()


def test_row_that_the_endpoint_refuses_is_an_error_of_that_row(run, server):
    server.script = lambda asked: by_message(asked) if "can I" in str(asked) else Answer({"detail": "too long"}, 400)

    job = do(run.job)

    assert job.state == JobState.SUCCEEDED
    assert sorted(Prediction.objects.values_list("correct", "error"))[0][1].startswith("The endpoint")
    assert run.evaluations.get().summary["errors"] == 1


def test_endpoint_without_usage_has_an_unknown_bill(run, server):
    server.always(Answer(completion("refund", usage=False)))

    do(run.job)

    assert run.evaluations.get().summary["endpoint"]["billed"] == {"input": None, "output": None, "cached": None}


def test_tokens_from_the_endpoints_cache_are_recorded_and_survive_a_second_try(run, server):
    body = completion("refund")
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 8}
    left = [Answer(body), Answer({"error": {"message": "bad"}}, 401)]
    server.script = lambda asked: left.pop(0) if left else Answer(body)
    assert do(run.job).state == JobState.FAILED
    job_retry(job=run.job, by=None)

    do(run.job)

    assert run.evaluations.get().summary["endpoint"]["billed"] == {"input": 10.0, "output": 2.0, "cached": 8.0}


def test_preview_is_answered_by_the_endpoint(workspace, hosted, server):
    version = make_experiment(workspace).dataset_version
    row = version.examples.get(position=5)
    job = make_job(workspace, kind="preview", queue="interactive")
    wording = {"user": "Sort: {{text}}", "answer_words": {"refund": ["refund"]}}
    preview = Preview.objects.create(dataset_version=version, backbone=hosted, wording=wording, examples=[row.pk], job=job)
    Job.objects.filter(pk=job.pk).update(payload={"preview": str(preview.pk)})

    assert do(job).state == JobState.SUCCEEDED

    preview.refresh_from_db()
    assert [(shown["predicted"], shown["prompt"]) for shown in preview.result["rows"]] == [("refund", "[user]\nSort: can I get a refund")]


def test_key_sealed_by_another_instance_is_asked_for_again(run, settings):
    settings.SECRET_KEY = "another-" + "k" * 60

    job = do(run.job)

    assert job.state == JobState.FAILED
    assert "Enter it again" in job.error


def test_calls_go_on_together(run, server):
    """Two rows, two calls at once."""

    def together(asked) -> Answer:
        wait_until(lambda: server.most_under_way == 2)
        return by_message(asked)

    server.script = together

    assert do(run.job).state == JobState.SUCCEEDED

"""Jobs of a hosted model to their end, against scripted servers: what is stored, what is said, and what is never paid twice."""

import json
import threading
from datetime import date
from decimal import Decimal

import pytest

from experiments.endpoints import networks_of
from experiments.models import (
    Backbone,
    CallState,
    EndpointCall,
    EndpointKey,
    Evaluation,
    Experiment,
    Job,
    JobState,
    Prediction,
    Preview,
    Run,
)
from experiments.services.endpoints import EndpointWish, endpoint_register
from experiments.services.jobs import job_cancel, job_retry
from experiments.services.leases import job_claim, lease_crash
from experiments.services.prices import price_book_create
from tests.factories import make_approach, make_experiment, make_job, make_run, make_template_version
from tests.workers.endpoint.server import Answer, Server, completion, serving, wait_until
from workers.perform import job_perform
from workers.tasks import execute_job

pytestmark = pytest.mark.django_db
KEY = "sk-secret-of-a-test"
FACTS = {"protocol": "chat", "token_field": "max_tokens", "has_temperature": True, "top_logprobs": 0}


@pytest.fixture
def server(settings, tmp_path):
    settings.ATTEMPTS_DIR = tmp_path / "attempts"
    settings.ENDPOINT_PRIVATE_NETWORKS = networks_of(["127.0.0.0/8"])
    settings.ENDPOINT_PATIENCE_SECONDS = 0.3
    with serving() as running:
        running.script = by_message
        yield running


def by_message(asked) -> Answer:
    """The right answer of a careful model."""
    text = asked["messages"][-1]["content"].split("Message:")[-1]
    return Answer(completion("refund" if any(word in text for word in ("refund", "payment", "money")) else "delivery"))


@pytest.fixture
def hosted(workspace, server) -> Backbone:
    wish = EndpointWish(url=server.url, model="tiny", key=KEY, limits={"concurrency": 2, "timeout_seconds": 1})
    backbone = endpoint_register(workspace=workspace, name="Hosted", wish=wish, by=None)
    Backbone.objects.filter(pk=backbone.pk).update(facts=FACTS)
    backbone.refresh_from_db()
    return backbone


@pytest.fixture
def run(workspace, hosted) -> Run:
    experiment = make_experiment(workspace)
    approach = make_approach(experiment, backbone=hosted, family="hosted", template_version=make_template_version(workspace))
    run = make_run(approach, job=make_job(workspace, queue="io"))
    Job.objects.filter(pk=run.job_id).update(payload={"run": str(run.pk)})
    Evaluation.objects.create(run=run, dataset_version=experiment.dataset_version, split="validation", job=run.job)
    return run


def do(job: Job) -> Job:
    execute_job(str(job.pk))
    job.refresh_from_db()
    return job


def inspect_job(backbone: Backbone) -> Job:
    job = Backbone.objects.get(pk=backbone.pk).job
    assert job is not None
    return job


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


def test_budget_of_calls_stops_the_run_and_loses_nothing(run, server):
    experiment = run.approach.experiment
    Experiment.objects.filter(pk=experiment.pk).update(endpoint_requests=1)

    job = do(run.job)

    assert (job.state, job.error_kind) == (JobState.FAILED, "budget")
    assert "used up (1 call). 1 row of 2 is answered and kept, 1 is not." in job.error
    Experiment.objects.filter(pk=experiment.pk).update(endpoint_requests=10)
    job_retry(job=job, by=None)
    assert do(job).state == JobState.SUCCEEDED
    assert len(server.asked) == 2


def test_budget_in_money_is_never_passed(run, server):
    prices = {"input_million_tokens": Decimal(1000), "output_million_tokens": Decimal(1000)}
    book = price_book_create(
        workspace=run.approach.experiment.workspace, name="Dear", currency="EUR", effective_on=date(2026, 1, 1), prices=prices, by=None
    )
    # At most a call could be billed more than a hundred tokens, each of them a thousandth of a euro.
    Experiment.objects.filter(pk=run.approach.experiment_id).update(price_book=book, endpoint_money=Decimal("0.1"))

    job = do(run.job)

    assert job.error_kind == "budget"
    assert "0.1 EUR" in job.error
    assert server.asked == []


def test_calls_that_a_dead_worker_left_open_are_made_again_and_counted(run, server):
    """The worker wrote down what it was about to ask, asked, and died before it recorded the answers."""
    lease = job_claim(job_id=run.job_id, worker="first")
    assert lease is not None
    EndpointCall.objects.create(
        job=run.job,
        attempt_id=lease.attempt_id,
        backbone=run.approach.backbone,
        example=run.approach.experiment.dataset_version.examples.filter(split="validation").first(),
        request_sha256="0" * 64,
        reserved_input_tokens=9,
        reserved_output_tokens=9,
    )
    lease_crash(lease=lease, detail="killed")

    do(run.job)

    run.refresh_from_db()
    assert run.evaluations.get().summary["endpoint"]["perhaps_paid_twice"] == 1
    assert "may have been paid twice" in run.result["warnings"][0]


def test_answers_of_a_lost_attempt_are_not_asked_for_again(run, server):
    """A worker that is killed after one row: the next one asks only for the other."""
    seen = threading.Semaphore(1)
    server.script = lambda asked: by_message(asked) if seen.acquire(blocking=False) else Answer(b"", 401)
    assert do(run.job).state == JobState.FAILED
    server.script = by_message
    job_retry(job=run.job, by=None)

    assert do(run.job).state == JobState.SUCCEEDED
    answered = EndpointCall.objects.filter(state=CallState.ANSWERED)
    assert answered.count() == answered.values("example").distinct().count() == 2


@pytest.mark.django_db(transaction=True)
def test_person_who_stops_the_run_stops_it(run, server):
    server.always(Answer(silent=0.5))
    lease = job_claim(job_id=run.job_id, worker="w")
    assert lease is not None
    job_cancel(job=run.job, by=None)

    from workers import watch

    watch_now, watch.CANCEL_LOOK_SECONDS = watch.CANCEL_LOOK_SECONDS, 0.0
    try:
        job_perform(lease)
    finally:
        watch.CANCEL_LOOK_SECONDS = watch_now

    run.job.refresh_from_db()
    assert run.job.state == JobState.CANCELLED


def test_worker_that_lost_its_lease_asks_nothing(run, server):
    lease = job_claim(job_id=run.job_id, worker="first")
    assert lease is not None
    Job.objects.filter(pk=run.job_id).update(fence=99)

    job_perform(lease)

    assert server.asked == []
    assert not Prediction.objects.exists()


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


def in_two_steps(asked) -> Answer:
    """Says what a customer wants when it is asked that, and goes by the wish alone when it is to answer."""
    text = asked["messages"][-1]["content"]
    if text.startswith("Wish?"):
        return Answer(completion("money back\nor so" if "refund" in text else "a parcel"))
    return Answer(completion("refund" if "Wish: money back\n" in text else "delivery"))


@pytest.fixture
def chain(run, server):
    version = run.approach.template_version
    version.first_step = {"text": "Wish? {{text}}", "max_tokens": 40, "stop": ["\n"]}
    version.user = "Wish: {{step_1}}\nMessage: hidden"
    version.save()
    server.script = in_two_steps
    return version


def test_two_steps_are_two_calls_a_row_and_both_are_paid_for(run, chain, server):
    job = do(run.job)

    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    evaluation = run.evaluations.get()
    told = evaluation.predictions.order_by("example__position").values_list(
        "predicted", "correct", "first_text", "prompt_tokens", "completion_tokens"
    )
    assert list(told) == [("refund", True, "money back", 20, 4), ("delivery", True, "a parcel", 20, 4)]
    assert evaluation.summary["endpoint"]["billed"] == {"input": 20.0, "output": 4.0, "cached": None}
    assert evaluation.summary["endpoint"]["latency"]["rows"] == 2
    assert EndpointCall.objects.filter(state=CallState.ANSWERED).count() == 4
    assert sorted(asked["max_tokens"] for asked in server.asked) == [32, 32, 40, 40]
    calls = sum(call.seconds or 0.0 for call in EndpointCall.objects.all())
    assert sum(evaluation.predictions.values_list("seconds", flat=True)) == pytest.approx(calls)
    run.refresh_from_db()
    assert run.result["written"]["first_step"] == {"rows": 2, "mean_tokens": 2.0, "at_limit": 0}


def test_budget_ends_between_the_steps_and_nothing_is_asked_twice(run, chain, server):
    Experiment.objects.filter(pk=run.approach.experiment_id).update(endpoint_requests=3)

    job = do(run.job)

    assert job.error_kind == "budget"
    assert "1 row of 2 is answered and kept, 1 is not." in job.error
    Experiment.objects.filter(pk=run.approach.experiment_id).update(endpoint_requests=1)
    EndpointCall.objects.all().delete()
    job_retry(job=job, by=None)
    assert "In the first step, 1 row of 2 is answered and kept, 1 is not." in do(job).error
    Experiment.objects.filter(pk=run.approach.experiment_id).update(endpoint_requests=10)
    before = len(server.asked)
    job_retry(job=job, by=None)

    assert do(job).state == JobState.SUCCEEDED
    assert len(server.asked) - before == 3


def test_row_without_a_first_text_is_an_error_of_that_row(run, chain, server):
    server.script = lambda asked: Answer({"detail": "too long"}, 400) if "package" in str(asked) else in_two_steps(asked)

    assert do(run.job).state == JobState.SUCCEEDED
    told = Prediction.objects.order_by("example__position").values_list("predicted", "first_text")
    assert list(told) == [("refund", "money back"), ("", "")]
    assert len(server.asked) == 3


def test_examples_of_the_prompt_are_thought_about_as_well(run, chain, server):
    chain.demonstrations = [{"example": None, "fields": {"text": "a refund, please"}, "label": "refund"}]
    chain.save()

    assert do(run.job).state == JobState.SUCCEEDED

    answered = [asked["messages"] for asked in server.asked if len(asked["messages"]) > 1]
    assert [messages[0]["content"] for messages in answered] == ["Wish: money back\nMessage: hidden\nQueue:"] * 2
    assert len(server.asked) == 5


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


def test_verification_finds_the_richest_way_that_the_endpoint_answers(hosted, server):
    """This one knows neither log-probabilities nor the older name of the token limit."""

    def picky(asked) -> Answer:
        return Answer({"error": {"message": "unsupported"}}, 400) if {"logprobs", "max_tokens"} & set(asked) else Answer()

    server.script = picky
    Backbone.objects.filter(pk=hosted.pk).update(facts={})

    do(inspect_job(hosted))

    hosted.refresh_from_db()
    assert hosted.verified_at is not None
    assert {name: hosted.facts[name] for name in ("protocol", "token_field", "has_temperature", "top_logprobs")} == {
        "protocol": "chat",
        "token_field": "max_completion_tokens",
        "has_temperature": False,
        "top_logprobs": 0,
    }
    assert EndpointCall.objects.filter(state=CallState.ANSWERED).count() == 1


def test_server_without_a_chat_template_is_asked_for_completions(hosted, server: Server):
    def base_model(asked) -> Answer:
        if "messages" in asked:
            return Answer(b"Internal Server Error", 500)
        return Answer({"choices": [{"text": " refund", "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})

    server.script = base_model

    do(inspect_job(hosted))

    hosted.refresh_from_db()
    assert hosted.facts["protocol"] == "completions"
    assert server.paths[-1] == "/v1/completions"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(b"<html>"), "a web page instead of JSON"),
        (Answer({"error": {"message": "bad"}}, 401), "does not accept the key"),
        (Answer({"error": {"message": "The model `tiny` does not exist"}}, 404), "has no model “tiny”"),
        (Answer(silent=5.0), "gave no answer within 1 seconds"),
    ],
)
def test_verification_says_what_is_wrong(hosted, server, answer, sentence):
    server.always(answer)

    job = do(inspect_job(hosted))

    hosted.refresh_from_db()
    assert job.state == JobState.FAILED
    assert sentence in hosted.problem


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

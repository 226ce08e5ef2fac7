from decimal import Decimal

import pytest

from experiments.models import ComparisonTable, Experiment, Job, Role, Run
from experiments.presence import queue_health
from tests.comparison_data import make_price_book
from tests.factories import (
    make_approach,
    make_backbone,
    make_dataset_version,
    make_experiment,
    make_run,
    make_template_version,
    make_worker,
    make_workspace,
)


@pytest.fixture
def plan(workspace):
    make_backbone()
    version, prompt = make_dataset_version(workspace), make_template_version(workspace)
    return {"name": "Which way?", "dataset_version": str(version.pk), "prompts": [str(prompt.pk)], "recipes": ["zero_shot", "soft_prompt"]}


def test_planned_comparison_runs_nothing_until_it_is_launched(call, plan):
    planned = call("post", "experiments", plan)

    assert planned.status_code == 201
    assert planned.json()["state"] == "planned"
    assert not Job.objects.exists()

    launched = call("post", f"experiments/{planned.json()['id']}/launch").json()
    assert launched["state"] == "running"
    assert {run["state"] for run in launched["runs"]} == {"queued"}


def test_a_comparison_tells_which_worker_is_missing(call, plan):
    launched = call("post", "experiments", plan | {"launch": True}).json()
    assert launched["waiting_for"] == [queue_health("gpu")]
    assert call("get", f"experiments/{launched['id']}/wait?timeout=0").json()["waiting_for"] == [queue_health("gpu")]

    make_worker("gpu")
    assert call("get", f"experiments/{launched['id']}").json()["waiting_for"] == []


def test_a_comparison_without_prices_gets_them_afterwards_once(call, plan, workspace):
    planned = call("post", "experiments", plan).json()
    first, second, foreign = (
        {"price_book": str(make_price_book(where, name=name).pk)}
        for where, name in ((workspace, "First"), (workspace, "Second"), (make_workspace("second"), "Foreign"))
    )

    answers = [call("post", f"experiments/{planned['id']}/prices", body) for body in (foreign, first, first, second)]

    assert [answer.status_code for answer in answers] == [404, 202, 202, 422]
    assert str(Experiment.objects.get().price_book_id) == first["price_book"]


def test_same_idempotency_key_gives_the_same_comparison(call, plan):
    first, again = (call("post", "experiments", plan | {"launch": True}, **{"Idempotency-Key": "monday"}).json() for _ in range(2))

    assert again["id"] == first["id"]
    assert Experiment.objects.count() == 1


def test_a_key_that_launched_another_comparison_is_refused_by_its_name(call, plan):
    first = call("post", "experiments", plan | {"name": "The first", "launch": True}, **{"Idempotency-Key": "monday"}).json()
    planned = call("post", "experiments", plan).json()

    refused = call("post", f"experiments/{planned['id']}/launch", **{"Idempotency-Key": "monday"})

    assert refused.status_code == 409
    assert f"“The first” ({first['id']})" in refused.json()["error"]["message"]
    assert call("get", f"experiments/{planned['id']}").json()["runs"] == []
    assert call("post", f"experiments/{planned['id']}/launch", **{"Idempotency-Key": "tuesday"}).json()["state"] == "running"


def test_without_a_key_each_launch_is_its_own(call, plan):
    for _ in range(2):
        call("post", "experiments", plan | {"launch": True})

    assert Experiment.objects.count() == 2


@pytest.mark.parametrize("key", ["x" * 101, "two words", "é", "a\tb"])
def test_malformed_idempotency_key_is_refused(call, plan, key):
    assert call("post", "experiments", plan | {"launch": True}, **{"Idempotency-Key": key}).status_code == 422


def test_approaches_can_be_spelled_out(call, plan):
    prompt = plan.pop("prompts")[0]
    approaches = [{"recipe": "soft_prompt", "prompt_version": prompt, "options": {"max_steps": 7}, "name": "Short"}]

    answer = call("post", "experiments", plan | {"approaches": approaches}).json()

    assert [approach["name"] for approach in answer["approaches"]] == ["Short"]
    assert answer["approaches"][0]["recipe"]["max_steps"] == 7


def test_every_approach_tries_as_many_configurations_as_are_asked_for(call, plan):
    answer = call("post", "experiments", plan | {"configurations": 3}).json()

    asked = {approach["method"]: approach["recipe"].get("configurations") for approach in answer["approaches"]}
    assert (asked["hard_prompt"], asked["prompt_tuning"]) == (3, 3)
    assert answer["configurations"] == 3


@pytest.mark.parametrize(
    "change",
    [
        {"configurations": 65},
        {"prompts": []},
        {"recipes": ["alchemy"]},
        {"options": {"soft_prompt": {"max_steps": -1}}},
        {"options": {"soft_prompt": {"nonsense": 1}}},
        {"options": {"soft_prompt": {"learning_rate": "fast"}}},
        {"seeds": []},
        {"seeds": [0, 0]},
        {"seeds": [2**40]},
        {"monthly_requests": 0},
        {"margin": 2},
        {"too_long": "explode"},
        {"name": " "},
    ],
)
def test_impossible_plan_is_422_and_stores_nothing(call, plan, change):
    answer = call("post", "experiments", plan | change)

    assert answer.status_code == 422, answer.content
    assert answer.json()["error"]["message"]
    assert not Experiment.objects.exists()


@pytest.mark.parametrize("field", ["dataset_version", "prompts", "backbone", "tuned_prompt", "price_book"])
def test_nouns_of_another_workspace_cannot_be_used(call, plan, field):
    other = make_workspace("other")
    foreign = {
        "dataset_version": lambda: make_dataset_version(other),
        "prompts": lambda: make_template_version(other),
        "tuned_prompt": lambda: make_template_version(other),
        "backbone": lambda: make_backbone(other, name="Theirs"),
        "price_book": lambda: make_experiment(other),
    }[field]()

    answer = call("post", "experiments", plan | {field: [str(foreign.pk)] if field == "prompts" else str(foreign.pk)})

    assert answer.status_code == 404
    assert not Experiment.objects.filter(workspace__slug="acme").exists()


def test_wait_answers_at_once_when_there_is_nothing_to_wait_for(call, workspace):
    experiment = make_experiment(workspace)

    assert call("get", f"experiments/{experiment.pk}/wait?timeout=30").json()["state"] == "planned"
    assert call("get", f"experiments/{experiment.pk}/wait?timeout=31").status_code == 422


@pytest.mark.parametrize("split", ["train", "unlabelled"])
def test_rows_that_are_learned_from_have_no_results(call, workspace, split):
    experiment = make_experiment(workspace)

    assert call("get", f"experiments/{experiment.pk}/results?split={split}").status_code == 422


def test_results_are_404_with_the_reason_until_they_are_computed(call, workspace):
    experiment = make_experiment(workspace)

    answer = call("get", f"experiments/{experiment.pk}/results?split=test")
    assert answer.status_code == 404
    assert "test set has been opened" in answer.json()["error"]["message"]

    ComparisonTable.objects.create(experiment=experiment, split="validation", payload={"rows": []})
    assert call("get", f"experiments/{experiment.pk}/results").json()["results"] == {"rows": []}


def test_cancel_ends_queued_runs(call, workspace):
    run = make_run(make_approach(make_experiment(workspace)))
    Experiment.objects.update(launched_at=run.job.created_at)

    answer = call("post", f"experiments/{run.approach.experiment_id}/cancel").json()

    assert [shown["state"] for shown in answer["runs"]] == ["cancelled"]


def test_stopped_runs_go_on_together_and_failed_ones_stay(call, workspace):
    experiment = make_experiment(workspace)
    states = ["cancelled", "cancelled", "failed", "succeeded"]
    runs = [make_run(make_approach(experiment), state=state) for state in states]
    Experiment.objects.update(launched_at=runs[0].job.created_at)
    address = f"experiments/{experiment.pk}/go-on"

    going_on, again = call("post", address), call("post", address)

    assert going_on.status_code == 202
    assert [shown["state"] for shown in going_on.json()["runs"]] == ["queued", "queued", "failed", "succeeded"]
    assert (again.status_code, again.json()["error"]["message"][:36]) == (422, "No run of this comparison is stopped")


def test_failed_run_is_retried_and_a_sound_one_refused(call, workspace):
    run = make_run(make_approach(make_experiment(workspace)), state="failed")

    assert call("post", f"runs/{run.pk}/retry").status_code == 202
    assert Run.objects.get().job.state == "queued"
    assert call("post", f"runs/{run.pk}/retry").status_code == 422


def test_test_set_cannot_be_opened_while_runs_go_on(call, workspace):
    run = make_run(make_approach(make_experiment(workspace)), state="running")

    answer = call("post", f"experiments/{run.approach.experiment_id}/open-test")

    assert answer.status_code == 422
    assert not run.approach.experiment.dataset_version.test_openings.exists()


@pytest.mark.parametrize("action", ["launch", "cancel", "go-on", "open-test", "reports"])
def test_viewers_key_changes_nothing(caller_for, workspace, action):
    experiment = make_experiment(workspace)

    assert caller_for(workspace, Role.VIEWER)("post", f"experiments/{experiment.pk}/{action}", {}).status_code == 403


def test_state_takes_the_same_number_of_queries_for_one_and_fifty_runs(call, workspace):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    experiment = make_experiment(workspace)
    approach = make_approach(experiment)
    make_run(approach, seed=50)

    def num_queries():
        with CaptureQueriesContext(connection) as seen:
            call("get", f"experiments/{experiment.pk}")
        return len(seen)

    num_queries()
    few = num_queries()
    for seed in range(50):
        make_run(approach, seed=seed)

    assert num_queries() == few <= 8


@pytest.fixture
def priced(workspace):
    book = make_price_book(workspace, input_million_tokens=1, output_million_tokens=2)
    return make_experiment(workspace, price_book=book, endpoint_requests=5)


def test_budget_of_hosted_models_is_changed_and_what_is_left_out_has_no_limit(call, priced):
    answer = call("put", f"experiments/{priced.pk}/budget", {"endpoint_money": "2.5"})

    priced.refresh_from_db()
    assert answer.status_code == 200
    assert (priced.endpoint_requests, priced.endpoint_money) == (None, Decimal("2.5"))


def test_budget_in_money_needs_prices(call, workspace):
    experiment = make_experiment(workspace, endpoint_requests=5)

    answer = call("put", f"experiments/{experiment.pk}/budget", {"endpoint_money": "2.5"})

    experiment.refresh_from_db()
    assert answer.status_code == 422
    assert "needs prices" in answer.json()["error"]["message"]
    assert experiment.endpoint_requests == 5


@pytest.mark.parametrize("budget", [{"endpoint_requests": -1}, {"endpoint_money": "-1"}, {"endpoint_money": "NaN"}])
def test_budget_that_is_none_is_refused(call, priced, budget):
    assert call("put", f"experiments/{priced.pk}/budget", budget).status_code == 422


def test_viewers_key_changes_no_budget(caller_for, workspace, priced):
    assert caller_for(workspace, Role.VIEWER)("put", f"experiments/{priced.pk}/budget", {"endpoint_requests": 9}).status_code == 403

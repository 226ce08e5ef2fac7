"""The page of a run that searched: what it tried, what came of it, and going on where somebody stopped it."""

import re

import pytest
from django.urls import reverse

from experiments.models import Job, JobState, Role, Run, Trial
from experiments.reads.trials import version_answering
from experiments.services.keys import api_key_create
from experiments.services.leases import job_claim
from experiments.services.results import run_commit
from experiments.services.trials import search_finish
from tests import factories

pytestmark = pytest.mark.django_db
WORDING = {
    "system": "",
    "user": "Other words: {{text}}",
    "answer_cue": "\nQueue:",
    "answer_words": {"refund": ["refund"], "delivery": ["delivery"]},
    "demonstrations": [],
}
SEARCH = {
    "winner": 1,
    "winner_name": "other words",
    "wording": WORDING,
    "winner_correct": 2,
    "written_correct": 1,
    "validation_rows": 2,
    "budget": 64,
    "spent": 6,
    "num_candidates": 2,
    "num_refused": 0,
    "rungs": [{"candidates": 2, "rows": 2}],
    "seconds": 1.5,
}


@pytest.fixture
def search(workspace) -> Run:
    version = factories.make_template_version(workspace)
    approach = factories.make_approach(factories.make_experiment(workspace), method="prompt_search", template_version=version)
    run = factories.make_run(approach, state="succeeded", result={"written": {"search": SEARCH}})
    attempt = factories.make_attempt(run.job)
    for number, accuracy in ((0, 0.5), (1, 1.0)):
        Trial.objects.create(
            run=run, attempt=attempt, number=number, name=f"words {number}", config=WORDING, rows=2, accuracy=accuracy, loss=1.0
        )
    return run


def page_of(client, run: Run, name: str = "run-detail") -> str:
    answer = client.get(reverse(name, args=[run.approach.experiment.workspace.slug, run.pk]))
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_the_page_says_what_was_tried_and_what_came_of_it(client_for, alice, search):
    version = search_finish(run=search, search=SEARCH)

    page = page_of(client_for(alice), search)

    assert page.index("words 1") < page.index("words 0")
    assert "answers 2 of 2 validation rows rightly; the prompt it started from 1" in page
    assert str(version) in page


def facts_of(client, run: Run) -> str:
    page = page_of(client, run)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[page.index('id="asked-title"') :]))


@pytest.mark.parametrize(
    ("method", "family", "said", "unsaid"),
    [
        ("hard_prompt", "engineered", ["Approach Zero-shot", "Model ", "Prompt Careful v1"], ["hard_prompt", "Reads"]),
        ("tfidf_logreg", "baseline", ["Approach TF-IDF + logistic regression", "Reads the columns of Careful v1"], ["Model ", "Prompt "]),
        ("label_overlap", "baseline", ["Reads the columns and answer words of Careful v1"], ["Model ", "Prompt "]),
        ("linear_probe", "baseline", ["Model ", "Reads the columns of Careful v1"], ["Prompt "]),
        ("majority", "baseline", ["Approach Most frequent label"], ["Model ", "Prompt ", "Reads"]),
    ],
)
def test_a_run_names_its_approach_in_words_and_only_what_it_uses(client_for, alice, workspace, method, family, said, unsaid):
    version, model = factories.make_template_version(workspace), factories.make_backbone()
    experiment = factories.make_experiment(workspace)
    approach = factories.make_approach(experiment, method=method, family=family, template_version=version, backbone=model)
    result = {"device": "cpu", "device_name": "AMD EPYC"}

    facts = facts_of(client_for(alice), factories.make_run(approach, state="succeeded", result=result))

    assert [words for words in said if words not in facts] == []
    assert [words for words in unsaid if words in facts] == []
    assert "AMD EPYC" in facts
    assert "AMD EPYC," not in facts


def test_the_prompts_page_names_the_search_and_the_version_it_started_from(client_for, alice, search):
    version = search_finish(run=search, search=SEARCH)
    assert version is not None

    page = client_for(alice).get(reverse("prompt-detail", args=["acme", version.template_id])).content.decode()

    assert reverse("run-detail", args=["acme", search.pk]) in page
    assert "Careful v1" in page


def test_all_trials_stand_on_a_page_with_their_words(client_for, alice, search):
    assert page_of(client_for(alice), search, "run-trials").count("Other words: {{text}}") == 2


@pytest.fixture
def sweep(workspace) -> Run:
    recipe = {"max_steps": 9, "configurations": 2}
    approach = factories.make_approach(factories.make_experiment(workspace), name="LoRA", family="tuned", method="lora", recipe=recipe)
    kept = {"configurations": 2, "num_refused": 0, "winner": 1, "winner_name": "learning rate 0.005", "validation_rows": 20}
    kept |= {"winner_accuracy": 0.9, "set_accuracy": 0.7, "together": False, "apart_reason": "it sits inside the model's modules"}
    kept |= {"stages": [{"configurations": 2, "steps": 3}, {"configurations": 1, "steps": 9}]}
    training = {"steps": 9, "best_step": 9, "train_seconds": 4.0, "evaluation_seconds": 1.0, "sweep_seconds": 2.0}
    run = factories.make_run(approach, state="succeeded", result={"sweep": kept, "training": training})
    attempt = factories.make_attempt(run.job)
    for number, correct in ((0, 14), (1, 18)):
        looks = [{"rung": 0, "rows": 20, "correct": correct, "loss": 1.0, "tokens": None, "seconds": 2.0, "sha256": "x", "step": 0}]
        config = {"options": {"learning_rate": 0.005 / 3**number}, "seed": 0}
        Trial.objects.create(
            run=run, attempt=attempt, number=number, name=f"setting {number}", config=config, looks=looks, rows=20, accuracy=correct / 20
        )
    return run


def test_a_run_that_swept_shows_what_it_tried_and_what_that_cost(client_for, alice, sweep):
    page = page_of(client_for(alice), sweep)

    assert "Configurations tried" in page
    assert "learning rate 0.005 does best: 90.0% of 20 validation rows right; the one that was set reached 70.0%" in page
    assert "What each configuration reached" in page
    assert "one after another, for it sits inside the model" in page
    assert page.index("setting 1") < page.index("setting 0")


def test_all_configurations_stand_on_a_page_with_their_settings(client_for, alice, sweep):
    page = page_of(client_for(alice), sweep, "run-trials")

    assert ">0.005<" in page
    assert ">0.00167<" in page


def test_a_page_below_a_run_leads_back_to_it_and_to_its_comparison(client_for, alice, sweep):
    trail = page_of(client_for(alice), sweep, "run-trials").split('aria-label="Breadcrumbs"')[1].split("</nav>")[0]

    steps = [reverse("comparison-list", args=["acme"]), reverse("comparison-detail", args=["acme", sweep.approach.experiment_id])]
    assert re.findall(r'href="([^"]+)"', trail) == [*steps, reverse("run-detail", args=["acme", sweep.pk])]


def test_a_run_that_tries_nothing_has_no_such_part(client_for, alice, workspace):
    approach = factories.make_approach(factories.make_experiment(workspace), method="lora", family="tuned", recipe={"max_steps": 9})

    assert "Configurations tried" not in page_of(client_for(alice), factories.make_run(approach, state="succeeded"))


def test_a_search_that_found_nothing_better_leaves_no_version(search):
    assert search_finish(run=search, search=SEARCH | {"winner": 0}) is None
    assert search.approach.template_version.template.versions.count() == 1


def test_a_search_that_finds_known_words_names_their_version_and_makes_no_other(client_for, alice, workspace, search):
    """Set up again, a comparison finds the same; its report must not name the prompt that the search started from."""
    version = search_finish(run=search, search=SEARCH)
    again = factories.make_run(search.approach, seed=1, state="queued")
    Job.objects.filter(pk=again.job_id).update(payload={"run": str(again.pk)})
    lease = job_claim(job_id=again.job_id, worker="w")
    assert version is not None
    assert lease is not None
    later = factories.make_template_version(workspace, template=version.template, user="Later words: {{text}}")

    run_commit(lease=lease, evaluations=[], result={"written": {"search": SEARCH | {}}}, artifact=None, peak_memory_bytes=None)

    again.refresh_from_db()
    assert version.template.versions.first() == later
    assert version_answering(again.approach, again) == version
    assert "It became <a" in page_of(client_for(alice), again)


def test_a_found_prompt_without_a_version_says_so(client_for, alice, search):
    assert "It is no version of the prompt" in page_of(client_for(alice), search)


def test_words_that_do_not_fit_the_data_are_not_kept_and_harm_nothing(search):
    assert search_finish(run=search, search=SEARCH | {"wording": WORDING | {"user": "no slot"}}) is None


def test_a_stopped_run_goes_on(client_for, alice, search):
    Job.objects.filter(pk=search.job_id).update(state=JobState.CANCELLED)
    client = client_for(alice)

    assert "Go on" in page_of(client, search)
    client.post(reverse("run-retry", args=["acme", search.pk]))

    search.job.refresh_from_db()
    assert search.job.state == JobState.QUEUED


def test_trials_come_over_the_api_the_best_first(client, alice, workspace, search):
    _, clear = api_key_create(workspace=workspace, name="key", role=Role.DOMAIN_EXPERT, by=alice)

    answer = client.get(f"/api/v1/runs/{search.pk}/trials", headers={"Authorization": f"Bearer {clear}"}).json()

    assert [(trial["number"], trial["accuracy"]) for trial in answer["items"]] == [(1, 1.0), (0, 0.5)]
    assert answer["items"][0]["config"]["user"] == WORDING["user"]


def test_a_run_is_stopped_over_the_api(client, alice, workspace, search):
    _, clear = api_key_create(workspace=workspace, name="key", role=Role.DOMAIN_EXPERT, by=alice)
    Job.objects.filter(pk=search.job_id).update(state=JobState.QUEUED)

    answer = client.post(f"/api/v1/runs/{search.pk}/cancel", headers={"Authorization": f"Bearer {clear}"})

    assert answer.status_code == 202
    search.job.refresh_from_db()
    assert search.job.state == JobState.CANCELLED


@pytest.fixture
def tuned(workspace) -> Run:
    approach = factories.make_approach(factories.make_experiment(workspace), name="Soft prompt", family="hybrid", method="prompt_tuning")
    token = {"nearest": [], "norm": 1.0, "drift": 0.1, "start_similarity": 0.9}
    run = factories.make_run(approach, state="succeeded", result={"learned_tokens": {"tokens": [token]}})
    factories.make_artifact(run, explain_job=factories.make_job(workspace, kind="explain"))
    factories.make_evaluation(run, split="train", job=factories.make_job(workspace, kind="evaluate"))
    return run


@pytest.mark.parametrize("name", ["run-explanation", "run-teaching", "run-mistakes", "run-mistakes-state"])
def test_what_was_asked_of_a_run_says_so_when_no_worker_is_there(client_for, alice, tuned, name):
    assert "No worker for tuning and scoring is running" in page_of(client_for(alice), tuned, name)


def test_learned_tokens_that_are_not_described_are_counted_though_the_recipe_does_not_say_how_many_there_are(client_for, alice, tuned):
    tuned.artifact.manifest["virtual_tokens"] = 300
    tuned.artifact.save()

    assert "The first 1 of 300 learned tokens." in page_of(client_for(alice), tuned, "run-explanation")


def test_a_run_says_so_when_no_worker_is_there_and_is_silent_when_one_is(client_for, alice, workspace):
    run = factories.make_run(factories.make_approach(factories.make_experiment(workspace)))
    for name in ("run-detail", "run-state"):
        assert page_of(client_for(alice), run, name).count("No worker for tuning and scoring is running") == 1

    factories.make_worker("gpu")
    for name in ("run-detail", "run-state"):
        assert "No worker" not in page_of(client_for(alice), run, name)

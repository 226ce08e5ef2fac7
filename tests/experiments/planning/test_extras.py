"""Searches by DSPy are launched only where a worker has DSPy and the model can write."""

from datetime import timedelta

import pytest
from django.utils import timezone

from experiments.models import Worker
from experiments.planning.approach_choice import Choice, approaches_expand
from experiments.planning.checks import plan_problems
from experiments.planning.plans import ExperimentPlan
from experiments.presence import extras_of
from tests import factories

pytestmark = pytest.mark.django_db
CHAT = {"family": "qwen2", "has_chat_template": True}


def make_worker(queue="gpu", extras=("dspy",), **overrides):
    now = timezone.now()
    seen = {"seen_at": now, "started_at": now, "device": {"extras": list(extras)}}
    return Worker.objects.create(**({"name": f"{queue}-{Worker.objects.count()}", "queue": queue} | seen | overrides))


def problems_of(workspace, backbone, recipes=("search_gepa",)):
    version = factories.make_dataset_version(workspace)
    choice = Choice(version, list(recipes), [factories.make_template_version(workspace)], backbone)
    return plan_problems(ExperimentPlan("Which?", version, approaches_expand(choice=choice)[0]))


def test_a_model_that_can_write_searches_where_a_worker_has_dspy(workspace):
    make_worker()

    assert problems_of(workspace, factories.make_backbone(facts=CHAT), ["search_gepa", "search_miprov2"]) == []


def test_without_the_extra_a_search_is_refused_before_launch(workspace):
    make_worker(extras=())

    assert problems_of(workspace, factories.make_backbone(facts=CHAT)) == [
        "GEPA search needs DSPy, an extra that no running worker has. Install it where the workers run with "
        "`pip install --no-deps --require-hashes -r requirements-dspy.lock` and start them again, or leave this out."
    ]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"has_chat_template": False}, "its tokenizer has no chat template"),
        ({}, "nobody knows yet whether it can write. Verify it in the Library first."),
    ],
)
def test_a_model_that_cannot_write_is_refused_by_what_its_verification_found(workspace, facts, words):
    make_worker()

    (problem,) = problems_of(workspace, factories.make_backbone(facts=facts))

    assert problem.startswith("GEPA search cannot run on “Starter”: ")
    assert words in problem


@pytest.mark.parametrize(("protocol", "count"), [("chat", 0), ("completions", 1)])
def test_an_endpoint_writes_where_it_takes_a_conversation(workspace, protocol, count):
    make_worker("hosted")
    hosted = factories.make_backbone(
        workspace, name="Far", kind="hosted", source="https://api.example.com/v1", remote_model="x", facts={"protocol": protocol}
    )

    assert len(problems_of(workspace, hosted)) == count


def test_every_running_worker_must_have_the_extra_and_one_that_is_gone_counts_no_more(workspace):
    make_worker()
    make_worker(extras=(), seen_at=timezone.now() - timedelta(minutes=5))
    assert extras_of("gpu") == {"dspy"}

    make_worker(extras=())
    assert extras_of("gpu") == set()
    assert extras_of("io") == set()


def test_a_search_asks_for_a_prompt_of_one_step(workspace):
    make_worker()
    version = factories.make_dataset_version(workspace)
    chain = factories.make_template_version(workspace, user="{{step_1}}", first_step={"text": "{{text}}", "max_tokens": 9, "stop": []})
    choice = Choice(version, ["search_gepa"], [chain], factories.make_backbone(facts=CHAT))

    (problem,) = plan_problems(ExperimentPlan("Which?", version, approaches_expand(choice=choice)[0]))

    assert "GEPA search starts from a prompt of one step" in problem

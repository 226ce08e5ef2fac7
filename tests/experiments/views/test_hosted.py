"""The pages of hosted models: what they ask, what they tell, and that a key never comes back."""

from decimal import Decimal

import pytest
from django.urls import reverse

from experiments.models import Backbone, CallState, EndpointCall, EndpointKey, Job
from experiments.services.backbones import backbone_verified
from experiments.services.endpoints import EndpointWish, endpoint_key_open, endpoint_register
from tests import factories
from tests.comparison_data import make_price_book

pytestmark = pytest.mark.django_db
KEY = "sk-secret-of-a-test"
URL = "https://api.example.com/v1"
FACTS = {"protocol": "chat", "top_logprobs": 5, "tells_usage": True, "answered_as": "mini-2026"}
TYPED = {"name": "Far away", "url": URL, "model": "mini"}


@pytest.fixture
def hosted(workspace) -> Backbone:
    backbone = endpoint_register(workspace=workspace, name="Far away", wish=EndpointWish(url=URL, model="mini", key=KEY), by=None)
    backbone_verified(backbone=backbone, facts=FACTS)
    return backbone


@pytest.fixture
def engineer(client_for, erin):
    return client_for(erin)


@pytest.fixture
def asked(workspace, hosted):
    """A comparison that asked a hosted model twice, once without a usable answer."""
    book = make_price_book(workspace, input_million_tokens=Decimal(1000), output_million_tokens=Decimal(1000))
    experiment = factories.make_experiment(workspace, price_book=book, endpoint_requests=7)
    run = factories.make_run(factories.make_approach(experiment, backbone=hosted, family="hosted"), state="succeeded")
    call = {"job": run.job, "attempt": factories.make_attempt(run.job), "backbone": hosted, "experiment": experiment}
    reserved = {"reserved_input_tokens": 400, "reserved_output_tokens": 32}
    EndpointCall.objects.create(**call, **reserved, state=CallState.ANSWERED, input_tokens=10, output_tokens=2)
    EndpointCall.objects.create(**call, **reserved, state=CallState.UNKNOWN)
    return experiment


def page_of(client, name, noun) -> str:
    content: bytes = client.get(reverse(name, args=["acme", noun.pk])).content
    return content.decode()


def plain(page: str) -> str:
    return " ".join(page.split())


def test_registered_endpoint_is_verified_and_its_page_holds_no_key(engineer):
    answer = engineer.post("/w/acme/library/models/new/", TYPED | {"place": "hosted", "key": KEY, "dtype": "auto"})

    page = engineer.get(answer["Location"]).content.decode()
    assert "Being verified" in page
    assert "nobody can read it" in page
    assert KEY not in page


def test_form_that_is_drawn_again_holds_no_key(engineer):
    answer = engineer.post("/w/acme/library/models/new/", TYPED | {"place": "hosted", "key": KEY, "url": "nowhere", "dtype": "auto"})

    assert answer.status_code == 422
    assert "has no scheme" in answer.content.decode()
    assert KEY not in answer.content.decode()


@pytest.mark.parametrize(("missing", "place"), [("model", "hosted"), ("url", "hosted"), ("folder", "local")])
def test_each_place_asks_for_what_it_needs(engineer, settings, missing, place):
    settings.MODEL_FOLDERS = ["/models"]
    typed = {"name": "Far away", "place": place, "dtype": "auto", "folder": "/models/x", "url": URL, "model": "mini"} | {missing: ""}

    answer = engineer.post("/w/acme/library/models/new/", typed)

    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [missing]


def test_page_says_what_the_verification_found(engineer, hosted):
    page = plain(page_of(engineer, "backbone-detail", hosted))

    assert 'chat, and calls itself <span class="mono">mini-2026</span>' in page
    assert "the 5 likeliest first words that it tells" in page


def test_edit_page_knows_the_endpoint_and_not_its_key(engineer, hosted):
    page = page_of(engineer, "backbone-edit", hosted)

    assert f'value="{URL}"' in page
    assert "New key" in page
    assert KEY not in page


def test_other_address_throws_the_key_away_and_says_so(engineer, hosted):
    typed = TYPED | {"url": "https://other.example.com/v1", "key": ""}

    answer = engineer.post(reverse("backbone-edit", args=["acme", hosted.pk]), typed, follow=True)

    assert "The key was thrown away" in answer.content.decode()
    assert not EndpointKey.objects.exists()


def test_other_name_keeps_the_key(engineer, hosted):
    engineer.post(reverse("backbone-edit", args=["acme", hosted.pk]), TYPED | {"name": "Nearby", "key": ""})

    hosted.refresh_from_db()
    assert (hosted.name, endpoint_key_open(backbone=hosted)) == ("Nearby", KEY)


def test_model_on_the_workers_has_no_edit_page(engineer, workspace):
    assert engineer.get(reverse("backbone-edit", args=["acme", factories.make_backbone(workspace).pk])).status_code == 404


def test_comparison_form_offers_hosted_models_and_a_budget(client_for, dora, workspace, hosted):
    factories.make_dataset_version(workspace)
    factories.make_template_version(workspace)
    factories.make_backbone()

    page = client_for(dora).get(reverse("comparison-create", args=["acme"])).content.decode()

    assert f'name="endpoints" value="{hosted.pk}"' in page
    assert 'name="endpoint_requests"' in page


def test_model_that_no_worker_has_verified_is_named_and_not_offered(client_for, dora, workspace):
    factories.make_dataset_version(workspace)
    factories.make_template_version(workspace)
    factories.make_backbone()
    waiting = factories.make_backbone(workspace, name="Not yet", kind="hosted", source=URL, verified_at=None)
    local = factories.make_backbone(workspace, name="On disk", kind="local", source="/models/x", verified_at=None)

    page = client_for(dora).get(reverse("comparison-create", args=["acme"])).content.decode()

    assert str(waiting.pk) not in page
    assert str(local.pk) not in page
    assert "Not offered before a worker has verified it: “Not yet” and “On disk”." in page


def test_comparison_tells_calls_bill_and_budget(client_for, dora, asked):
    page = plain(page_of(client_for(dora), "comparison-detail", asked))

    # 10 + 2 billed tokens, and for the call without an answer all that it can cost: 400 + 32, a tenth of a cent each.
    assert "2 calls, 410 tokens read and 34 written, €0.44" in page
    assert "1 call; they may have been billed" in page
    assert "<dd> 7 calls </dd>" in page


@pytest.mark.parametrize(
    ("state", "told"), [("running", "Under way</dt> <dd>1 call,"), ("cancelled", "Without a usable answer</dt> <dd> 1 call; they may")]
)
def test_call_that_was_asked_is_told_whether_its_answer_can_still_come(client_for, dora, asked, state, told):
    EndpointCall.objects.filter(state=CallState.UNKNOWN).update(state=CallState.ASKED)
    Job.objects.update(state=state)

    assert told in plain(page_of(client_for(dora), "comparison-detail", asked))


def test_budget_is_changed_on_the_page(client_for, dora, asked):
    client_for(dora).post(reverse("comparison-budget", args=["acme", asked.pk]), {"endpoint_requests": "20", "endpoint_money": "1.5"})

    asked.refresh_from_db()
    assert (asked.endpoint_requests, asked.endpoint_money) == (20, Decimal("1.5"))


def test_viewer_sees_the_bill_and_changes_no_budget(client_for, bob, asked):
    client = client_for(bob)

    assert "Change the budget" not in page_of(client, "comparison-detail", asked)
    assert client.post(reverse("comparison-budget", args=["acme", asked.pk]), {"endpoint_requests": "20"}).status_code == 403


def test_run_page_says_who_was_asked_and_how_labels_were_read(client_for, bob, asked):
    run = asked.approaches.get().runs.get()
    run.result = {
        "endpoint": {
            "model": "mini",
            "host": "api.example.com",
            "calls": 12,
            "asked_again": 2,
            "billed": {"input": 10.0, "output": 2.0, "cached": 8.0},
            "read_by": {"log-probabilities": 9, "no label": 1},
            "without_answer": 0,
        }
    }
    run.save()

    page = plain(page_of(client_for(bob), "run-detail", run))

    assert "10.0 tokens read (8.0 of them from the endpoint's cache), 2.0 written" in page
    assert "at api.example.com, 12 calls, 2 of them again" in page
    assert "<dt> Label from log-probabilities </dt> <dd>9 rows</dd>" in page
    assert "<dt> No label in the answer </dt> <dd>1 row</dd>" in page

"""Hosted models: their addresses, and keys that go in and never come out."""

import json

import pytest

from experiments.endpoints import endpoint_url, networks_of
from experiments.errors import UserError
from experiments.models import AuditEntry, Backbone, EndpointKey
from experiments.services.backbones import backbone_verified
from experiments.services.endpoints import EndpointWish, endpoint_change, endpoint_key_open, endpoint_register
from tests.factories import make_backbone

KEY = "sk-secret-of-a-test"
URL = "https://api.example.com/v1"


def wish(**changes) -> EndpointWish:
    return EndpointWish(**{"url": URL, "model": "tiny", "key": KEY} | changes)


@pytest.fixture
def hosted(workspace) -> Backbone:
    return endpoint_register(workspace=workspace, name="Hosted", wish=wish(), by=None)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" https://API.example.com/v1/ ", URL),
        ("https://api.example.com/v1/chat/completions", URL),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://[2606:4700::1]:8443/v1", "https://[2606:4700::1]:8443/v1"),
        ("https://xn--mnchen-3ya.example./v1", "https://xn--mnchen-3ya.example./v1"),
        ("http://model_server:8000/v1", "http://model_server:8000/v1"),
    ],
)
def test_address_is_kept_in_one_spelling(typed, kept):
    assert endpoint_url(typed) == kept


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("api.example.com/v1", "has no scheme"),
        ("", "has no scheme"),
        ("ftp://api.example.com", "begins with “ftp://”"),
        ("https://", "names no host"),
        ("https:///v1", "names no host"),
        ("https://user:pass@api.example.com/v1", "must not hold a user name"),
        ("https://api.example.com/v1?key=1", "must end with its path"),
        ("https://api.example.com:99999/v1", "is no address"),
        ("https://api.example.com:port/v1", "is no address"),
        ("http://0177.0.0.1/v1", "names no host"),
        ("http://2130706433/v1", "names no host"),
        ("https://[::1/v1", "is no address"),
        ("https://[v1.x]/v1", "is no address|cannot be the name of a host"),
        ("https://münchen.example/v1", "xn--"),
        ("https://１２７.0.0.1/v1", "xn--"),
        ("https://a..example.com/v1", "cannot be the name of a host"),
        ("https://" + "a" * 64 + ".example.com/v1", "cannot be the name of a host"),
        ("https://exa<mple.com/v1", "cannot be the name of a host"),
        ("https://exa\\mple.com/v1", "cannot be the name of a host"),
        ("https://%31%32%37.0.0.1/v1", "cannot be the name of a host"),
        ("https://api.example.com/v1\nX-Evil: 1", "one line"),
        ("https://" + "a" * 500, "at most 400 characters"),
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(typed, words):
    with pytest.raises(UserError, match=words):
        endpoint_url(typed)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "10.0.0.8",
        "169.254.169.254",
        "[::ffff:10.0.0.8]",
        "[::10.0.0.8]",
        "[64:ff9b::a00:8]",
        "[64:ff9b:1::a00:8]",
        "[2002:a00:8::1]",
        "[fec0::1]",
        "[fd00::1]",
        "[fe80::1]",
        "[ff0e::1]",
    ],
)
def test_private_address_is_refused_at_once(workspace, host):
    with pytest.raises(UserError, match="ENDPOINT_PRIVATE_NETWORKS"):
        endpoint_register(workspace=workspace, name="Inside", wish=wish(url=f"https://{host}/v1"), by=None)


def test_private_address_is_allowed_by_the_operator(workspace, settings):
    settings.ENDPOINT_PRIVATE_NETWORKS = networks_of(["10.0.0.0/8"])

    assert endpoint_register(workspace=workspace, name="Inside", wish=wish(url="http://10.0.0.8:8000/v1"), by=None).is_hosted


@pytest.mark.parametrize(
    ("key", "words"),
    [(f"{KEY}\n", "line break"), ("sk\r\nX-Evil: 1", "line break"), ("sk with space", "space"), ("ключ", "no key has"), ("k" * 501, "500")],
)
def test_key_that_cannot_be_one_is_refused_without_repeating_it(workspace, key, words):
    with pytest.raises(UserError, match=words) as refused:
        endpoint_register(workspace=workspace, name="Hosted", wish=wish(key=key), by=None)

    assert key.strip() not in str(refused.value)
    assert not Backbone.objects.exists()


def test_registered_model_is_verified_by_a_worker_and_its_key_opens_for_one(hosted):
    assert (hosted.kind, hosted.remote_model, hosted.job.kind) == ("hosted", "tiny", "inspect")
    assert endpoint_key_open(backbone=hosted) == KEY


def test_key_is_sealed_in_every_row(hosted):
    nouns = (Backbone, EndpointKey, AuditEntry)

    assert KEY not in json.dumps([list(noun.objects.values()) for noun in nouns], default=str)


@pytest.mark.parametrize("url", ["https://api.evil.example/v1", "https://api.example.com:8443/v1", "https://api.example.com/other"])
def test_other_address_throws_the_key_away(hosted, url):
    forgotten = endpoint_change(backbone=hosted, name="Hosted", wish=wish(url=url, key=None), by=None)

    assert forgotten
    assert endpoint_key_open(backbone=hosted) is None


def test_other_limits_keep_the_key(hosted):
    assert not endpoint_change(backbone=hosted, name="Renamed", wish=wish(key=None, limits={"concurrency": 9}), by=None)

    assert endpoint_key_open(backbone=hosted) == KEY
    assert (hosted.name, hosted.limits["concurrency"]) == ("Renamed", 9)


def test_new_key_comes_with_a_new_address(hosted):
    assert not endpoint_change(backbone=hosted, name="Hosted", wish=wish(url="https://two.example.com", key="sk-2"), by=None)

    assert endpoint_key_open(backbone=hosted) == "sk-2"


def test_key_can_be_taken_away(hosted):
    assert endpoint_change(backbone=hosted, name="Hosted", wish=wish(key=""), by=None)

    assert not EndpointKey.objects.exists()


def test_sealed_key_moved_to_another_address_opens_nothing(hosted):
    Backbone.objects.filter(pk=hosted.pk).update(source="https://api.evil.example/v1")
    hosted.refresh_from_db()

    with pytest.raises(UserError, match="Enter it again"):
        endpoint_key_open(backbone=hosted)


def test_change_has_to_be_verified_again(hosted):
    backbone_verified(backbone=hosted, facts={"protocol": "chat"})

    endpoint_change(backbone=hosted, name="Hosted", wish=wish(model="other", key=None), by=None)

    assert (hosted.verified_at, hosted.facts) == (None, {})


def test_model_on_the_workers_cannot_be_changed(workspace):
    with pytest.raises(UserError, match="Only a hosted model"):
        endpoint_change(backbone=make_backbone(workspace), name="x", wish=wish(), by=None)


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"timeout_seconds": 10_000}, {"answer_tokens": -1}])
def test_limit_out_of_range_is_refused(workspace, limits):
    with pytest.raises(UserError, match="must lie between"):
        endpoint_register(workspace=workspace, name="Hosted", wish=wish(limits=limits), by=None)

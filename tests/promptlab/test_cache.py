"""Without Redis nobody is turned away: limits are off, the log says so once, and every answer is what it would have been."""

import socket

import pytest
from django.core.cache import cache
from django.core.cache.backends.redis import RedisCacheClient
from django.test import Client
from django.urls import reverse
from structlog.testing import capture_logs

from experiments.models import Role
from experiments.services.accounts import sign_in_url
from experiments.services.keys import api_key_create
from experiments.throttle import may_try
from promptlab.cache import ForgivingClient, ForgivingRedisCache


@pytest.fixture(autouse=True)
def _redis_is_away(settings, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(ForgivingClient, "_away_until", None)
    settings.CACHES = {"default": {"BACKEND": "promptlab.cache.ForgivingRedisCache", "LOCATION": f"redis://127.0.0.1:{port}/0"}}


def test_limits_are_off_and_the_log_says_so_once():
    with capture_logs() as lines:
        allowed = [may_try("somebody", action="test", limit=1, seconds=60) for _ in range(3)]

    assert all(allowed)
    assert [line["event"] for line in lines] == ["rate_limits_off"]


def test_a_cache_without_redis_holds_nothing():
    cache.set("key", 1)

    assert cache.add("key", 1)
    assert cache.get("key", "nothing") == "nothing"
    assert not cache.delete("key")
    with pytest.raises(ValueError, match="not found"):
        cache.incr("key")


def test_redis_is_asked_again_after_a_while(monkeypatch):
    client = ForgivingRedisCache("redis://127.0.0.1:1/0", {})._cache
    client.get("key", None)
    asked = []
    monkeypatch.setattr(RedisCacheClient, "add", lambda self, key, value, timeout: asked.append(key) or True)

    client.add("too soon", 1, 60)
    monkeypatch.setattr(ForgivingClient, "_away_until", 0.1)  # long ago
    with capture_logs() as lines:
        client.add("later", 1, 60)

    assert asked == ["later"]
    assert [line["event"] for line in lines] == ["rate_limits_on"]


def test_no_silent_redis_holds_a_request_for_long():
    options = ForgivingRedisCache("redis://127.0.0.1:1/0", {})._cache.get_client().connection_pool.connection_kwargs

    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (1.0, 1.0)


def test_the_api_answers(workspace, alice):
    _, key = api_key_create(workspace=workspace, by=alice, name="CI", role=Role.VIEWER)

    assert Client().get("/api/v1/datasets", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert Client().get("/api/v1/datasets", headers={"Authorization": "Bearer plk_wrong"}).status_code == 401


def test_a_sign_in_link_signs_in(alice):
    token = sign_in_url(alice).partition("token=")[2]

    assert Client().post(reverse("sign-in"), {"token": token}).status_code == 302


def test_a_bad_link_is_missing(db):
    assert Client().get(reverse("share-open", args=["x" * 43])).status_code == 404


def test_a_password_signs_in_and_a_wrong_one_does_not(alice):
    def attempt(password):
        return Client().post(reverse("account_login"), {"login": alice.email, "password": password}).status_code

    assert attempt("a wrong guess") == 200
    assert attempt("correct horse battery") == 302

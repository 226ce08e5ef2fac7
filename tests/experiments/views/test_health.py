import pytest
from django.db import DatabaseError, connection
from django.test import Client


def test_health_is_terse_and_needs_no_account(db):
    answer = Client().get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"database": "ok", "broker": "ok"})


def test_lost_broker_is_reported_and_the_instance_still_serves(db, settings):
    settings.REDIS_URL = "redis://user:canary-password@127.0.0.1:1/0"

    answer = Client().get("/healthz")

    assert (answer.status_code, answer.json()["broker"]) == (200, "away")
    assert "canary" not in answer.content.decode()


def test_lost_database_is_503_without_details(db, monkeypatch):
    def fail(*args, **kwargs):
        raise DatabaseError("host db.internal is down")

    with monkeypatch.context() as outage:
        outage.setattr(connection, "cursor", fail)
        answer = Client().get("/healthz")

    assert (answer.status_code, answer.json()["database"]) == (503, "away")
    assert "internal" not in answer.content.decode()


@pytest.mark.parametrize("verb", ["post", "put", "delete", "patch"])
def test_health_only_answers_reading_verbs(db, verb):
    assert getattr(Client(), verb)("/healthz").status_code == 405


@pytest.mark.django_db
def test_monitor_behind_the_proxy_is_not_sent_to_https(settings):
    settings.SECURE_SSL_REDIRECT = True

    assert Client().get("/healthz").status_code == 200
    assert Client().get("/sign-in/").status_code == 301

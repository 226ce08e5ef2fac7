"""A server that settings name and that is not there is told with its address, before anything is started."""

import socket

import pytest
from django.db import connection
from django.db.utils import ConnectionHandler

from experiments.local_stack import CannotStart
from experiments.servers import check_database, check_redis


@pytest.fixture
def closed_port():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


@pytest.mark.django_db
def test_a_database_that_is_there_is_fine():
    check_database(connection)


@pytest.mark.django_db
def test_a_database_server_that_is_away_is_named_without_its_password(closed_port):
    facts = {"HOST": "127.0.0.1", "PORT": closed_port, "NAME": "promptlab", "USER": "somebody", "PASSWORD": "canary"}
    away = ConnectionHandler({"default": {"ENGINE": "django.db.backends.postgresql", **facts}})["default"]

    with pytest.raises(CannotStart, match=f"at 127.0.0.1:{closed_port} cannot be opened.*DATABASE_URL") as told:
        check_database(away)

    assert "canary" not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.django_db
def test_a_database_file_that_cannot_be_opened_is_named(tmp_path):
    file = tmp_path / "missing" / "promptlab.sqlite3"
    away = ConnectionHandler({"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}})["default"]

    with pytest.raises(CannotStart, match=f"The database {file} cannot be opened"):
        check_database(away)


def test_without_a_redis_in_the_settings_none_is_asked(settings):
    settings.REDIS_URL = ""

    check_redis()


def test_a_redis_that_is_away_is_named_without_its_password(settings, closed_port):
    settings.REDIS_URL = f"redis://user:canary@127.0.0.1:{closed_port}/0"

    with pytest.raises(CannotStart, match=f"Redis at 127.0.0.1:{closed_port} does not answer.*REDIS_URL") as told:
        check_redis()

    assert "canary" not in str(told.value)

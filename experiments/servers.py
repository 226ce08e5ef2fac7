"""The servers that settings name, asked for before an instance starts: a sentence with host and port instead of a traceback."""

from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from experiments.local_stack import CannotStart

SECONDS = 3.0


def check_database(connection: BaseDatabaseWrapper) -> None:
    """Raises CannotStart when the database cannot be opened."""
    try:
        connection.ensure_connection()
    except Error as error:
        facts = connection.settings_dict
        place = f"at {facts['HOST']}:{facts['PORT'] or 'its usual port'}" if facts["HOST"] else str(facts["NAME"])
        raise CannotStart(f"The database {place} cannot be opened. Start it, or correct DATABASE_URL. {_reason(error)}") from error


def check_redis() -> None:
    """Raises CannotStart when settings name a Redis that does not answer."""
    if not settings.REDIS_URL:
        return
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=SECONDS, socket_timeout=SECONDS) as server:
            server.ping()
    except (redis.RedisError, ValueError) as error:
        found = urlsplit(settings.REDIS_URL)
        place = f"{found.hostname}:{found.port or 6379}"
        remedy = "Start it, correct REDIS_URL, or leave it out: one machine needs no Redis."
        raise CannotStart(f"Redis at {place} does not answer. {remedy} {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line of what the client library says."""
    return f"({(str(error).splitlines() or [type(error).__name__])[0]})"

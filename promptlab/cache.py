"""The cache of rate limits over Redis, which people must not notice when Redis is away. Knows no limit and no page.

A limit that cannot be counted lets the person through: sign-in, links and the API go on, and the log says so once.
"""

import time
from collections.abc import Callable
from typing import Any, ClassVar

import structlog
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

SOCKET_SECONDS = 1.0
# A Redis that swallows packets costs a second a question, and one sign-in asks ten times: so it is left alone for a while.
AWAY_SECONDS = 5.0


class ForgivingClient(RedisCacheClient):
    """What rate limits ask of a cache (add, get, set, delete, incr). Without Redis it holds nothing, and adding succeeds."""

    _away_until: ClassVar[float | None] = None  # of the process: Django makes a client for every thread

    def add(self, key: Any, value: Any, timeout: Any) -> bool:
        return bool(self._ask(lambda: super(ForgivingClient, self).add(key, value, timeout), without=True))

    def get(self, key: Any, default: Any) -> Any:
        return self._ask(lambda: super(ForgivingClient, self).get(key, default), without=default)

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        self._ask(lambda: super(ForgivingClient, self).set(key, value, timeout), without=None)

    def delete(self, key: Any) -> bool:
        return bool(self._ask(lambda: super(ForgivingClient, self).delete(key), without=False))

    def incr(self, key: Any, delta: int) -> Any:
        found = self._ask(lambda: super(ForgivingClient, self).incr(key, delta), without=None)
        if found is None:
            raise ValueError(f"Key {key!r} not found.")  # what every cache of Django says of a key that it does not hold
        return found

    def _ask(self, question: Callable[[], Any], *, without: Any) -> Any:
        known = ForgivingClient._away_until
        if known and time.monotonic() < known:
            return without
        try:
            answer = question()
        except RedisError as error:
            ForgivingClient._away_until = time.monotonic() + AWAY_SECONDS
            if known is None:
                log.warning("rate_limits_off", reason=type(error).__name__)
            return without
        if known:
            ForgivingClient._away_until = None
            log.warning("rate_limits_on")
        return answer


class ForgivingRedisCache(RedisCache):
    """Django's Redis cache, for counters that nobody should be turned away for want of."""

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        timeouts = {"socket_timeout": SOCKET_SECONDS, "socket_connect_timeout": SOCKET_SECONDS}
        super().__init__(server, params | {"OPTIONS": timeouts | params.get("OPTIONS", {})})
        self._class = ForgivingClient

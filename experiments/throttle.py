"""How often something may be tried: a counter per window in the cache. Knows no page and keeps nobody's name in clear."""

import hashlib
import time

from allauth.account.adapter import get_adapter
from django.core.cache import cache
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Where the request comes from, as sign-in counts it: the socket's address, or the trusted proxy's word."""
    return str(get_adapter().get_client_ip(request))


def may_try(who: str, *, action: str, limit: int, seconds: int) -> bool:
    """Count one try; False once `who` has made more than `limit` in the running window of `seconds`.

    `add` and `incr` are atomic in every cache of Django that several threads or processes share.
    """
    key = _window_key(who, action, seconds)
    cache.add(key, 0, timeout=seconds)
    try:
        return cache.incr(key) <= limit
    except ValueError:  # the window ended between the two calls
        return True


def seconds_left(seconds: int) -> int:
    """Until the running window ends."""
    return seconds - int(time.time()) % seconds


def _window_key(who: str, action: str, seconds: int) -> str:
    digest = hashlib.sha256(who.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return f"throttle:{action}:{int(time.time()) // seconds}:{digest}"

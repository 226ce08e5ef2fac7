"""Who calls: a workspace key in the Authorization header, and nothing else. A browser's session never opens the API."""

import structlog
from django.http import HttpRequest
from ninja.errors import Throttled
from ninja.security import HttpBearer
from ninja.throttling import BaseThrottle

from experiments import throttle
from experiments.models import ApiKey
from experiments.services.audit import KEY_CONTEXT
from experiments.services.keys import PREFIX, api_key_find

WINDOW_SECONDS = 60
CALLS_PER_KEY = 600
BAD_KEYS_PER_ADDRESS = 10


class KeyRequest(HttpRequest):
    """A request that carries a good key."""

    auth: ApiKey


class WorkspaceKey(HttpBearer):
    """`Authorization: Bearer plk_…`. The key's name and prefix go to the logs and the audit trail, never the key."""

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey | None:
        key = api_key_find(token) if token.startswith(PREFIX) else None
        if key is not None:
            structlog.contextvars.bind_contextvars(**{KEY_CONTEXT: f"{key.name} ({key.prefix}…)"})
            return key
        address = throttle.client_address(request)
        if not throttle.may_try(address, action="bad-key", limit=BAD_KEYS_PER_ADDRESS, seconds=WINDOW_SECONDS):
            raise Throttled(wait=throttle.seconds_left(WINDOW_SECONDS))
        return None


class KeyThrottle(BaseThrottle):
    """A ceiling of calls per key and minute. It keeps no state of its own, so threads may share it."""

    def allow_request(self, request: HttpRequest) -> bool:
        key = getattr(request, "auth", None)
        return key is None or throttle.may_try(str(key.pk), action="api", limit=CALLS_PER_KEY, seconds=WINDOW_SECONDS)

    def wait(self) -> float:
        return float(throttle.seconds_left(WINDOW_SECONDS))

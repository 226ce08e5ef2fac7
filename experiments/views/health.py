"""Is this instance fit to serve? For load balancers and monitors; says no more than up or away."""

import os

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

BROKER_SECONDS = 1.0


@login_not_required
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """503 without the database. Without the broker pages still work and jobs wait for the sweep, so that is only reported."""
    database, broker = _database_answers(), _broker_answers()
    return JsonResponse({"database": _word(database), "broker": _word(broker)}, status=200 if database else 503)


def _word(answers: bool) -> str:
    return "ok" if answers else "away"


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _broker_answers() -> bool:
    if not settings.REDIS_URL:
        return os.access(settings.HINTS_DIR / "queue", os.W_OK)
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=BROKER_SECONDS, socket_timeout=BROKER_SECONDS) as server:
            return bool(server.ping())
    except redis.RedisError:
        return False

"""Holding a call until something happens, without letting callers hold every thread of the server."""

import time
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any

from ninja.params import functions

MOST_AT_ONCE = 4
LOOK_EVERY_SECONDS = 0.5
SECONDS: Any = functions.Query(20, ge=0, le=30, description="Seconds, at most 30.")  # how operations that wait take their time limit
_places = BoundedSemaphore(MOST_AT_ONCE)


def wait_for(happened: Callable[[], bool], *, seconds: float) -> None:
    """Return when `happened`, when the time is up, or at once when too many calls wait already."""
    if not _places.acquire(blocking=False):
        return
    try:
        deadline = time.monotonic() + seconds
        while not happened() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(LOOK_EVERY_SECONDS, left))
    finally:
        _places.release()

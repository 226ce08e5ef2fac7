"""A worker's rows while it lives."""

import pytest

from experiments.database_clock import from_now
from experiments.models import Worker
from experiments.presence import extras_of, queue_health
from workers import presence
from workers.presence import Presence

pytestmark = pytest.mark.django_db


def test_worker_has_a_row_for_each_queue_it_serves():
    Presence(["gpu", "interactive"], num_slots=1).register()

    assert sorted(Worker.objects.values_list("queue", flat=True)) == ["gpu", "interactive"]
    assert Worker.objects.filter(queue="gpu").get().device["slots"] == 1
    assert queue_health("gpu") is None


@pytest.mark.parametrize("found", [set(), {"dspy"}, {"dspy", "optuna"}])
def test_worker_says_which_extras_it_has(monkeypatch, found):
    monkeypatch.setattr(presence, "find_spec", lambda name: name if name in found else None)

    Presence(["gpu"], num_slots=1).register()

    assert extras_of("gpu") == ({"dspy"} if len(found) == 2 else set())


def test_heartbeat_renews_the_row_and_keeps_its_start():
    presence = Presence(["io"], num_slots=2)
    presence.register()
    Worker.objects.update(seen_at=from_now(-60), started_at=from_now(-60))

    presence.register()

    assert queue_health("io") is None
    assert Worker.objects.filter(started_at__lt=from_now(-30)).count() == 1


def test_worker_that_ends_in_order_takes_its_rows_along():
    presence = Presence(["gpu"], num_slots=1)
    presence.register()

    presence.leave()

    assert "No worker" in str(queue_health("gpu"))

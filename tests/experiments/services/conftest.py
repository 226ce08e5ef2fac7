"""What leaves for the broker, without a broker."""

import pytest

from promptlab.celery import app


@pytest.fixture
def sent_hints(monkeypatch) -> list[tuple[str, str]]:
    """(job id, queue) of every hint that would reach the broker."""
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, queue, **options: sent.append((args[0], str(queue))))
    return sent


@pytest.fixture
def broken_broker(monkeypatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(app, "send_task", refuse)

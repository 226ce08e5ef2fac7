"""What leaves for the broker, without a broker."""

import pytest

from experiments import dispatch
from promptlab.celery import app


@pytest.fixture(autouse=True)
def talkative(monkeypatch) -> None:
    """An earlier test's broker fault keeps nobody quiet."""
    monkeypatch.setattr(dispatch, "_quiet_until", 0.0)


@pytest.fixture
def sent_hints(monkeypatch) -> list[tuple[str, str]]:
    """(job id, queue) of every hint that would reach the broker."""
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, queue, **options: sent.append((args[0], str(queue))))
    return sent


@pytest.fixture
def broken_broker(monkeypatch) -> list[str]:
    """A broker that refuses; returns the jobs whose hint was tried."""
    tried: list[str] = []

    def refuse(name: str, args: list[str], **options: object) -> None:
        tried.append(args[0])
        raise OSError("connection refused")

    monkeypatch.setattr(app, "send_task", refuse)
    return tried

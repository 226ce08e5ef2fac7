"""A supervisor's surroundings: hosts that end with the test, rows to predict, and a watch that a test steers."""

import json
import os
import sys
from pathlib import Path

import pytest

from workers.host import EngineHost, Slot, Watch, Wish

FAKE_HOST = Path(__file__).with_name("fake_host.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def start_host():
    """Starts hosts that behave as named; all are ended with the test."""
    started: list[EngineHost] = []

    def start(how: str = "work", seconds: float = 0.0) -> EngineHost:
        command = [sys.executable, str(FAKE_HOST), how, str(seconds)]
        started.append(EngineHost(command, environment=os.environ, folder=ROOT))
        return started[-1]

    yield start
    for host in started:
        host.kill()


@pytest.fixture
def make_slot(start_host):
    def make(how: str = "work", seconds: float = 0.0) -> Slot:
        return Slot(lambda: start_host(how, seconds), idle_seconds=3600)

    return make


@pytest.fixture
def run_request(tmp_path):
    """A run of two rows."""
    rows = [{"id": "1", "fields": {"text": "a"}, "label": "x"}, {"id": "2", "fields": {"text": "b"}, "label": "y"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    spec = {
        "id": "run",
        "labels": ["x", "y"],
        "artifact": None,
        "recipe": {"method": "hard_prompt"},
        "evaluate": [{"name": "validation", "file": {"path": str(tmp_path / "rows.jsonl")}}],
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    return {"op": "run", "id": "job:1", "spec": str(tmp_path / "spec.json"), "out": str(tmp_path / "out")}


class Outside:
    """What a test wants of the job, and what it heard."""

    def __init__(self) -> None:
        self.wish = Wish.GO_ON
        self.after_progress: Wish | None = None
        self.heard: list[dict[str, object]] = []

    def watch(self) -> Watch:
        return Watch(look=lambda: self.wish, record=self._record)

    def _record(self, progress: dict[str, object]) -> None:
        self.heard.append(progress)
        self.wish = self.after_progress or self.wish


@pytest.fixture
def outside() -> Outside:
    return Outside()

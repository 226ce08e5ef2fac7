"""How soon an engine host starts to score rows: warm, its model loaded, and cold, from the start of the process.

The gates are absolute: half a second, and five seconds besides the load of the model. The ratio is the allowed time over ours.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers.bench.lab import Lab
from workers.bench.protocol import Entry, judge
from workers.bench.serving import LABELS, spec_of
from workers.engine.contract.spec import Recipe, RunSpec

_WARM_SECONDS = 0.5
_COLD_SECONDS = 5.0
_ROWS = 16
_TIMES = 3


class Host:
    """An engine host as a worker keeps one, spoken to in JSON lines."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workers.engine", "host"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def say(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None, "the host listens"
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def hear(self, event: str, phase: str = "") -> dict[str, Any]:
        """The next message of this kind."""
        assert self.process.stdout is not None, "the host answers"
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["event"] == "failed":
                raise RuntimeError(f"The host could not run: {message['message']}")
            if message["event"] == event and (not phase or message.get("phase") == phase):
                return message
        raise RuntimeError(f"The host ended before it said {event}.")


@contextmanager
def host() -> Iterator[Host]:
    """A host that ends with the measure."""
    made = Host()
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def request_of(lab: Lab, name: str) -> dict[str, Any]:
    """A run of a written prompt on a few rows."""
    rows = lab.folder / "rows.jsonl"
    lines = [{"id": str(place), "fields": {"text": f"gepe teni {place}"}, "label": LABELS[place % len(LABELS)]} for place in range(_ROWS)]
    rows.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    spec: RunSpec = spec_of(lab, name, Recipe("hard_prompt"))
    written = spec.to_json() | {"evaluate": [{"name": "test", "file": {"path": str(rows)}}]}
    file = lab.folder / f"{name}.json"
    file.write_text(json.dumps(written), encoding="utf-8")
    return {"op": "run", "id": name, "spec": str(file), "out": str(lab.folder / f"out-{name}")}


def host_cold(lab: Lab) -> Entry:
    """From the start of the process until rows are scored, less the time that the run itself names for its model."""
    request = request_of(lab, "cold")
    seconds = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        with host() as cold:
            cold.say(request)
            cold.hear("progress", "scoring")
            first = time.perf_counter() - started
            cold.hear("done")
        seconds.append(first - _load_seconds(Path(request["out"])))
    return _against(lab, "host-cold", min(seconds), _COLD_SECONDS)


def host_warm(lab: Lab) -> Entry:
    """From the request until rows are scored."""
    seconds = []
    with host() as warm:
        for turn in range(_TIMES + 1):
            request = request_of(lab, f"warm-{turn}")
            started = time.perf_counter()
            warm.say(request)
            warm.hear("progress", "scoring")
            seconds.append(time.perf_counter() - started)
            warm.hear("idle")
    return _against(lab, "host-warm", min(seconds[1:]), _WARM_SECONDS)


def _load_seconds(out: Path) -> float:
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return float(result["timings"]["load"])


def _against(lab: Lab, name: str, seconds: float, allowed: float) -> Entry:
    return judge(Entry(name, "allowed", "s", seconds, allowed, allowed / seconds, note="one run of a written prompt"), lab.rules)

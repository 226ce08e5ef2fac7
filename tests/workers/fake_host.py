"""Speaks the engine host's protocol without a model. What it does is named by the run's id or the rows' texts; its time is scripted.

Every prediction's text names the attempt that made it, so that a test can see results of two attempts mixed.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

CANCELLED: set[str] = set()
REQUESTS: list[dict[str, Any]] = []
ARRIVED = threading.Condition()


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def listen() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        with ARRIVED:
            if request["op"] == "cancel":
                CANCELLED.add(request["id"])
            else:
                REQUESTS.append(request)
            ARRIVED.notify()
    os._exit(0)


def next_request() -> dict[str, Any]:
    with ARRIVED:
        ARRIVED.wait_for(lambda: REQUESTS)
        return REQUESTS.pop(0)


def behave(how: str, request: dict[str, Any]) -> None:
    """What a troubled engine does instead of answering."""
    if how == "segfault":
        sys.stderr.write("about to fall\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "silence":
        time.sleep(3600)
    elif how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    elif how == "hungry":
        hoard = bytearray(400 << 20)
        time.sleep(3600)
        del hoard
    elif how == "chatty":
        for number in range(100_000):
            sys.stderr.write(f"line {number}\n")
        say(event="done", id=request["id"], result="")
    elif how == "refuse":
        say(event="failed", id=request["id"], kind="bad_data", message="Row 3 is empty.", detail="Traceback")
    elif how == "broken":
        say(event="failed", id=request["id"], kind="internal", message="KeyError: 'x'", detail="Traceback")


def run(request: dict[str, Any], seconds: float) -> bool:
    """Predict every row; returns False when it was cancelled on the way."""
    spec, out = json.loads(Path(request["spec"]).read_text()), Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    for target in spec["evaluate"]:
        rows = [json.loads(line) for line in Path(target["file"]["path"]).read_text().splitlines()]
        lines = []
        for number, row in enumerate(rows, start=1):
            time.sleep(seconds / len(rows))
            if request["id"] in CANCELLED:
                return False
            say(event="progress", id=request["id"], phase="scoring", step=0, steps=0, rows=number, rows_total=len(rows), metrics={})
            lines.append(json.dumps(prediction(row, spec["labels"][0], request["id"])))
        (out / f"predictions-{target['name']}.jsonl").write_text("\n".join(lines) + "\n")
    write_result(spec, out)
    return True


def time_requests(request: dict[str, Any]) -> None:
    """A latency pass in which everything takes a millisecond."""
    spec, out = json.loads(Path(request["spec"]).read_text()), Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    figures = {
        run["id"]: {"rows": spec["requests"], "p50_ms": 1.0, "p95_ms": 1.0, "cpu_p50_ms": 1.0, "withheld": None} for run in spec["runs"]
    }
    (out / "latency.json").write_text(json.dumps({"approaches": figures, "requests": spec["requests"], "withheld": None}))


def prediction(row: dict[str, Any], label: str, attempt: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "expected": row["label"],
        "predicted": label,
        "loglikelihoods": {label: -0.1},
        "text": attempt,
        "prompt_tokens": 7,
        "virtual_tokens": 0,
        "completion_tokens": 1,
        "computed_tokens": 5,
        "seconds": 0.01,
        "error": None,
        "prompt": "shown",
    }


def write_result(spec: dict[str, Any], out: Path) -> None:
    result: dict[str, Any] = {"id": spec["id"], "state": "succeeded", "metrics": {t["name"]: {"n": 2} for t in spec["evaluate"]}}
    if spec["recipe"]["method"] == "prompt_tuning" and not spec["artifact"]:
        folder = out / "artifact"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        (folder / "promptlab.json").write_text('{"format": 1}')
        result["artifact"] = {"folder": "artifact", "files": {path.name: "" for path in folder.iterdir()}, "bytes": 20}
    (out / "result.json").write_text(json.dumps(result))


def main() -> None:
    how = sys.argv[1] if len(sys.argv) > 1 else "work"
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    threading.Thread(target=listen, daemon=True).start()
    say(event="ready", pid=os.getpid(), versions={})
    while (request := next_request())["op"] != "shutdown":
        behave(how, request)
        if request["op"] == "inspect":
            say(event="inspected", id=request["id"], facts={"layers": 2})
        elif how in ("work", "changed"):
            is_done = run(request, seconds) if request["op"] == "run" else time_requests(request) is None
            say(event="done" if is_done else "cancelled", id=request["id"], result=str(Path(request["out"]) / "result.json"))
        say(event="idle", id=request["id"], unchanged=how != "changed")


if __name__ == "__main__":
    main()

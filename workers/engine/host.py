"""A warm process that executes runs one after another: JSON lines in on stdin, JSON lines out on a copy of the first stdout.

It keeps one backbone loaded between jobs, proves after each job that the backbone is unchanged, and ends when stdin ends.
Anything that libraries print goes to stderr, so that it can never be taken for an answer.
"""

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from workers.engine.contract.latency_spec import LatencySpec
from workers.engine.contract.outcome import Progress
from workers.engine.contract.spec import BackboneRef, RunSpec
from workers.engine.errors import DiskFull, EngineError, RunStopped, is_out_of_disk
from workers.engine.execute import execute
from workers.engine.latency import time_approaches
from workers.engine.model.backbone import Backbone, load_backbone, source_key
from workers.engine.model.runtime import quiet_libraries, return_freed_memory, versions
from workers.engine.run import Run

_PROGRESS_SECONDS = 0.5
_TRACEBACK_CHARACTERS = 4000


class Host:
    """Executes jobs from a stream of requests.

    Args:
        answers: where events are written, a line each.
    """

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._write_lock = threading.Lock()
        self._jobs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled: set[str] = set()
        self._backbone: Backbone | None = None
        self._key: tuple[str, ...] | None = None
        self._last_progress = ("", 0.0)

    def serve(self, requests: TextIO) -> None:
        """Answer requests until they end or ask to shut down."""
        self._say("ready", pid=os.getpid(), versions=versions())
        # A thread reads, so that a cancel is heard in the middle of a training.
        threading.Thread(target=self._listen, args=(requests,), daemon=True).start()
        while (job := self._jobs.get()) is not None:
            self._work(job)

    def _listen(self, requests: TextIO) -> None:
        for line in requests:
            if not line.strip():
                continue
            try:
                request = json.loads(line)
                operation = request["op"]
            except (ValueError, KeyError, TypeError):
                self._say("failed", id=None, kind="bad_request", message="A request must be a JSON object with an op.", detail="")
                continue
            if operation == "cancel":
                self._cancelled.add(request.get("id", ""))
            elif operation == "shutdown":
                break
            else:
                self._jobs.put(request)
        self._cancelled.add("*")
        self._jobs.put(None)

    def _work(self, job: dict[str, Any]) -> None:
        job_id = str(job.get("id", ""))
        try:
            self._dispatch(job_id, job)
        except RunStopped:
            self._say("cancelled", id=job_id)
        except EngineError as error:
            self._say("failed", id=job_id, kind=error.kind, message=error.message, detail=_traceback_tail())
        except Exception as error:  # noqa: BLE001 - the host must outlive any fault of a job and say what it was
            full = DiskFull() if is_out_of_disk(error) else None
            kind, message = (full.kind, full.message) if full else ("internal", f"An unexpected fault: {type(error).__name__}: {error}")
            self._say("failed", id=job_id, kind=kind, message=message, detail=_traceback_tail())
        self._cancelled.discard(job_id)
        unchanged = self._is_unchanged()
        if not unchanged:
            # Whoever is told so starts another host; should a job come all the same, it loads the model anew.
            self._backbone, self._key = None, None
        self._say("idle", id=job_id, unchanged=unchanged)

    def _dispatch(self, job_id: str, job: dict[str, Any]) -> None:
        operation = job["op"]
        if operation == "run":
            spec = RunSpec.from_file(Path(job["spec"]))
            run = Run(spec, Path(job["out"]), self._provide, self._progress_of(job_id), self._stop_of(job_id))
            execute(run)
            self._say("done", id=job_id, result=str(run.out / "result.json"))
        elif operation == "latency":
            asked = LatencySpec.from_json(json.loads(Path(job["spec"]).read_text(encoding="utf-8")))
            time_approaches(asked, Path(job["out"]), self._provide, self._progress_of(job_id), self._stop_of(job_id))
            self._say("done", id=job_id, result=str(Path(job["out"]) / "latency.json"))
        elif operation == "inspect":
            backbone = self._provide(BackboneRef.from_json(job["backbone"]))
            self._say("inspected", id=job_id, facts={**backbone.facts, **backbone.public_facts()})
        else:
            self._say("failed", id=job_id, kind="bad_request", message=f"There is no operation {operation!r}.", detail="")

    def _provide(self, ref: BackboneRef) -> Backbone:
        """The backbone that is loaded already when it is the one asked for, else a fresh one in its place."""
        key = source_key(ref)
        if self._backbone is None or key != self._key:
            self._backbone, self._key = None, None
            return_freed_memory()  # two models at once may not fit
            self._backbone = load_backbone(ref)
            self._key = key
        return self._backbone

    def _is_unchanged(self) -> bool:
        return self._backbone is None or self._backbone.fingerprint() == self._backbone.weights_hash

    def _progress_of(self, job_id: str) -> Callable[[Progress], None]:
        def tell(progress: Progress) -> None:
            phase, at = self._last_progress
            now = time.monotonic()
            if progress.phase == phase and now - at < _PROGRESS_SECONDS:
                return
            self._last_progress = (progress.phase, now)
            self._say("progress", id=job_id, **progress.to_json())

        return tell

    def _stop_of(self, job_id: str) -> Callable[[], bool]:
        return lambda: job_id in self._cancelled or "*" in self._cancelled

    def _say(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}, ensure_ascii=False)
        with self._write_lock:
            self._answers.write(line + "\n")
            self._answers.flush()


def _traceback_tail() -> str:
    return traceback.format_exc()[-_TRACEBACK_CHARACTERS:]


def serve_standard_streams() -> None:
    """Serve stdin; descriptor 1 itself is pointed at stderr first, so that prints of C code cannot break the protocol."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    quiet_libraries()
    Host(answers).serve(sys.stdin)

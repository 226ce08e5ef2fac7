"""One engine host: a warm child process that executes jobs one after another, and the watch over it. Knows no Django and no job rows.

The child gets JSON lines on its standard input and answers with JSON lines; of its error output the end is kept.
The protocol stands in `workers.engine.host`.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import psutil

TAIL_BYTES = 4096
LOOK_SECONDS = 0.5
PROVE_SECONDS = 60.0
CLOSE_SECONDS = 5.0
ENDINGS = {"done", "inspected", "failed", "cancelled"}

Message = dict[str, Any]


class Wish(Enum):
    """What the outside wants of a running job."""

    GO_ON = "go on"
    CANCEL = "cancel"  # a person stopped it
    LEAVE = "leave"  # the worker is asked to end, and the job goes back to its queue
    DROP = "drop"  # the lease is lost: nothing that this host does may count


@dataclass(frozen=True)
class Limits:
    """When the supervisor steps in. Zero bytes or None seconds: no limit.

    grace_seconds: what a person who stops a job waits for at most; leave_seconds: what a worker that ends has for a checkpoint.
    """

    grace_seconds: float = 20.0
    leave_seconds: float = 10.0
    hang_seconds: float = 600.0
    memory_bytes: int = 0
    time_seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job left its host: the host's last message, or `crashed`, `stopped`, `dropped`, `memory`, `time` by the supervisor."""

    kind: str
    message: Message = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True)
class Watch:
    """The supervisor's ways to the outside, called on its own clock: `look` often, `record` for every progress message."""

    look: Callable[[], Wish]
    record: Callable[[Message], None]


class EngineHost:
    """One child process."""

    def __init__(self, command: list[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self.is_unchanged = True
        self.used_at = time.monotonic()
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._last_words = bytearray()
        self._process = subprocess.Popen(  # from the main thread: the leash is tied to the thread that starts it
            [sys.executable, "-m", "workers.leash", str(os.getpid()), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
        threading.Thread(target=self._read_messages, name="host-messages", daemon=True).start()
        self._errors = threading.Thread(target=self._read_errors, name="host-errors", daemon=True)
        self._errors.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, message: Message) -> None:
        """Write one line. A host that has died meanwhile is noticed by its silence, not here."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def next_message(self, seconds: float) -> Message | None:
        """The next message, an empty one when none came in time, or None when the host has ended."""
        try:
            message = self._messages.get(timeout=seconds)
        except queue.Empty:
            return {}
        if message is None:
            self._messages.put(None)  # for whoever asks again
        return message

    def memory_bytes(self) -> int:
        """Resident memory of the host and its children."""
        try:
            process = psutil.Process(self.pid)
            return sum(part.memory_info().rss for part in [process, *process.children(recursive=True)])
        except psutil.Error:
            return 0

    def forget_errors(self) -> None:
        """From here on the error output belongs to the next job."""
        self._last_words.clear()

    def tail(self) -> str:
        """The end of what this job wrote to its error output, and how the process ended."""
        if not self.is_alive:
            self._errors.join(timeout=1.0)
        text = bytes(self._last_words).decode("utf-8", "replace").replace("\0", "")
        return f"{text.strip()}\n{self._ending()}".strip()

    def signal(self, number: signal.Signals) -> None:
        """Signal the host and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Ask the host to end, and make it end."""
        self.send({"op": "shutdown"})
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End the host and its children now, and wait until the kernel has."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def _ending(self) -> str:
        code = self._process.poll()
        if code is None:
            return ""
        return f"The engine host ended by {signal.Signals(-code).name}." if code < 0 else f"The engine host ended with code {code}."

    def _read_messages(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    message = json.loads(line)
                    if isinstance(message, dict):
                        self._messages.put(message)
        self._messages.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._last_words += chunk
                del self._last_words[:-TAIL_BYTES]


class Supervision:
    """The watch over one job on one host."""

    def __init__(self, host: EngineHost, request: Message, watch: Watch, limits: Limits) -> None:
        self.host, self.request, self.watch, self.limits = host, request, watch, limits
        self.started_at = self.heard_at = time.monotonic()
        self.wish = Wish.GO_ON
        self.kill_at = float("inf")

    def run(self) -> Outcome:
        """Send the job and see it through to its end; the caller looks at `host.is_alive` and `host.is_unchanged` afterwards."""
        self.host.forget_errors()
        self.host.send(self.request)
        while True:
            message = self.host.next_message(LOOK_SECONDS)
            if message is None:
                return self._after_death()
            ending = self._hear(message) or self._look()
            if ending is not None:
                return ending

    def _hear(self, message: Message) -> Outcome | None:
        if not message:
            return None
        self.heard_at = time.monotonic()
        event = message.get("event")
        if event == "progress" and message.get("id") == self.request["id"]:
            self.watch.record({key: value for key, value in message.items() if key not in ("event", "id")})
        if event in ENDINGS and message.get("id") == self.request["id"]:
            self._await_proof()
            return Outcome("stopped" if event == "cancelled" and self.wish is Wish.LEAVE else str(event), message)
        return None

    def _await_proof(self) -> None:
        """After its answer the host shows that its backbone is as it was. Without that proof it is replaced."""
        until = time.monotonic() + PROVE_SECONDS
        self.host.is_unchanged = False
        while time.monotonic() < until and self.watch.look() is not Wish.DROP:
            message = self.host.next_message(LOOK_SECONDS)
            if message is None:
                return
            if message.get("event") == "idle":
                self.host.is_unchanged = bool(message.get("unchanged"))
                return

    def _look(self) -> Outcome | None:
        """What time, memory and the outside have to say."""
        now = time.monotonic()
        wish = self.watch.look()
        if wish is Wish.DROP:
            return self._end("dropped")
        if wish is not self.wish and self.wish is Wish.GO_ON:
            self.wish = wish
            self.kill_at = now + (self.limits.leave_seconds if wish is Wish.LEAVE else self.limits.grace_seconds)
            self.host.send({"op": "cancel", "id": self.request["id"]})
        if now > self.kill_at:
            self.host.signal(signal.SIGTERM)
            self.host.close(seconds=1.0)
            return self._after_death()
        if self.limits.time_seconds and now - self.started_at > self.limits.time_seconds:
            return self._end("time")
        if self.limits.memory_bytes and self.host.memory_bytes() > self.limits.memory_bytes:
            return self._end("memory")
        if now - self.heard_at > self.limits.hang_seconds:
            return self._end("crashed", f"The engine said nothing for {self.limits.hang_seconds:.0f} seconds, so it was ended.")
        return None

    def _end(self, kind: str, why: str = "") -> Outcome:
        self.host.kill()
        return Outcome(kind, detail=f"{why}\n{self.host.tail()}".strip())

    def _after_death(self) -> Outcome:
        """The host is gone: by our hand, because it was to stop, or by a crash."""
        self.host.kill()
        endings = {Wish.CANCEL: "cancelled", Wish.LEAVE: "stopped"}
        return Outcome(endings.get(self.wish, "crashed"), detail=self.host.tail())


class Slot:
    """Room for one host. It stays warm between jobs and is replaced when it dies, cannot prove itself unchanged, or is asked for anew."""

    def __init__(self, start: Callable[[], EngineHost], *, idle_seconds: float) -> None:
        self._start = start
        self._idle_seconds = idle_seconds
        self._host: EngineHost | None = None
        self._lock = threading.Lock()

    def execute(self, request: Message, *, watch: Watch, limits: Limits, throw_away: bool = False) -> Outcome:
        """Run one job to its end. `throw_away` gives it a fresh host that nobody uses after it."""
        with self._lock:
            if throw_away:
                self._close()
            host = self._host = self._host if self._host and self._host.is_alive else self._start()
            try:
                outcome = Supervision(host, request, watch, limits).run()
            except BaseException:
                host.kill()  # a job that nobody watches must not go on
                raise
            if throw_away or not host.is_unchanged:
                self._close()
            host.used_at = time.monotonic()
            return outcome

    def close_if_idle(self) -> None:
        """End a host that has had nothing to do for long. Never waits for a running job."""
        if self._lock.acquire(blocking=False):
            try:
                if self._host and time.monotonic() - self._host.used_at > self._idle_seconds:
                    self._close()
            finally:
                self._lock.release()

    def close(self) -> None:
        """End the host, whatever it does."""
        self._close()

    def _close(self) -> None:
        host, self._host = self._host, None
        if host is None:
            return
        if host.is_alive:
            host.close()
        else:
            host.kill()

"""The processes of a one-machine instance: web, workers and sweep, started together and ended together.

Knows command lines and process groups. Knows no rows: what the processes do is theirs.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

STOP_SECONDS = 25.0
RESTART_SECONDS = 2.0


class CannotStart(Exception):
    """Something on this machine stands in the way; the text says what and how to mend it."""


@dataclass(frozen=True)
class Program:
    """One process of the instance: its name (also of its log) and its argument list."""

    name: str
    arguments: Sequence[str]


def programs(port: int, host: str = "127.0.0.1") -> list[Program]:
    """Everything that an instance on one machine runs. One solo worker per queue that holds a model, a small pool for the rest.

    Runs on hosted endpoints wait for hours and have a pool of their own: an upload or a comparison must not wait behind them.
    """
    python = sys.executable
    celery = [python, "-m", "celery", "-A", "promptlab", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    celery += ["--loglevel", "INFO"]
    # No access log: it would hold the tokens of shared links. The request log of the application has them shortened.
    gunicorn = [python, "-m", "gunicorn", "promptlab.wsgi", "--bind", f"{host}:{port}", "--worker-class", "gthread", "--threads", "8"]
    return [
        Program("web", [*gunicorn, "--timeout", "120", "--graceful-timeout", "10"]),
        Program("worker-gpu", [*celery, "-Q", "gpu", "-n", "gpu@%h", "--pool", "solo"]),
        Program("worker-interactive", [*celery, "-Q", "interactive", "-n", "interactive@%h", "--pool", "solo"]),
        Program("worker-io", [*celery, "-Q", "io", "-n", "io@%h", "--pool", "prefork", "--concurrency", "2"]),
        Program("worker-hosted", [*celery, "-Q", "hosted", "-n", "hosted@%h", "--pool", "prefork", "--concurrency", "4"]),
        Program("sweep", [python, "manage.py", "sweep", "--every", "10"]),
    ]


def check_port(port: int, host: str = "127.0.0.1") -> None:
    """Raises CannotStart when something listens on the port already."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(f"Port {port} is taken by another program. Choose a free one: make run PORT={port + 1}") from error


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the state directory for this process.

    Raises:
        CannotStart: another instance runs from the same directory.
    """
    with (home / "running.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotStart(f"PromptLab already runs from {home}. Stop it first, or choose another PROMPTLAB_HOME.") from error
        yield


@dataclass
class Stack:
    """The running processes. Use as a context: leaving it ends every one of them and their children."""

    programs: Sequence[Program]
    logs: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> "Stack":
        self.logs.mkdir(parents=True, exist_ok=True)
        for program in self.programs:
            self._start(program)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def restart_dead(self) -> list[str]:
        """Start what has died again, at most every two seconds each; returns the names."""
        dead = [
            program
            for program in self.programs
            if self._running[program.name].poll() is not None and time.monotonic() - self._started[program.name] > RESTART_SECONDS
        ]
        for program in dead:
            self._start(program)
        return [program.name for program in dead]

    def log_tail(self, name: str, num_lines: int = 5) -> str:
        """The last lines that a process wrote."""
        return "\n".join((self.logs / f"{name}.log").read_text(errors="replace").splitlines()[-num_lines:])

    def stop(self) -> None:
        """Ask every process group to end, the workers before the web, and kill what is left after 25 seconds."""
        for process in self._running.values():
            _signal(process, signal.SIGTERM, group=False)
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in self._running.values():
            _signal(process, signal.SIGKILL, group=True)
            process.wait()

    def _start(self, program: Program) -> None:
        with (self.logs / f"{program.name}.log").open("ab") as log:
            self._running[program.name] = _spawn(program.arguments, log)
        self._started[program.name] = time.monotonic()


def _spawn(arguments: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # Each process leads a group of its own, so that Ctrl-C reaches only the launcher, which then ends them in order. With
    # setpriv the kernel also ends them when the launcher is killed outright.
    setpriv = shutil.which("setpriv")
    leash = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
    return subprocess.Popen([*leash, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals, *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, number)
        elif process.poll() is None:
            process.send_signal(number)

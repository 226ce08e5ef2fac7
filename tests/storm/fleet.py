"""The processes of an instance, started from the same command lines as in production, killed and started again."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import psutil

ROOT = Path(__file__).parents[2]
CELERY = [sys.executable, "-m", "celery", "-A", "promptlab", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"]
PROGRAMS = {
    "worker": [*CELERY, "--loglevel", "INFO", "-Q", "gpu", "-n", "gpu@%h", "--pool", "solo"],
    "io": [*CELERY, "--loglevel", "INFO", "-Q", "io", "-n", "io@%h", "--pool", "prefork", "--concurrency", "1"],
    "sweep": [sys.executable, "manage.py", "sweep", "--every", "0.5"],
}


class Fleet:
    """Use as a context: leaving it ends every process."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> "Fleet":
        self.logs.mkdir(parents=True, exist_ok=True)
        self.keep_running()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask every process to end, as a service manager does, and wait."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                _kill_group(process.pid)
                process.wait()
        self.running.clear()
        while self._files:
            self._files.pop().close()

    def keep_running(self) -> None:
        """Start what is not there."""
        for name, arguments in PROGRAMS.items():
            if name not in self.running or self.running[name].poll() is not None:
                log = (self.logs / f"{name}.log").open("ab")
                self._files.append(log)
                self.running[name] = subprocess.Popen(arguments, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)

    def kill(self, name: str) -> bool:
        """SIGKILL a program, or the engine host of the worker. False when it is not there."""
        if name != "host":
            _kill_group(self.running[name].pid)
            self.running[name].wait()
            return True
        hosts = self.hosts()
        for host in hosts:
            _kill_group(host.pid)
        return bool(hosts)

    def hosts(self) -> list[psutil.Process]:
        """Engine hosts that the worker has started."""
        try:
            children = psutil.Process(self.running["worker"].pid).children()
            return [child for child in children if {"fake_host", "workers.engine"} & set(_words(child))]
        except psutil.Error:
            return []


def orphans(home: str) -> list[int]:
    """Processes that still run with this state directory, apart from ours and our parents'."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process.pid for process in psutil.process_iter() if process.pid not in mine and _belongs(process, home)]


def _belongs(process: psutil.Process, home: str) -> bool:
    try:
        is_alive = process.status() != psutil.STATUS_ZOMBIE
        return is_alive and home in (*process.environ().values(), *process.cmdline())
    except psutil.Error:
        return False


def _words(process: psutil.Process) -> list[str]:
    """The program's arguments; of a script its bare name."""
    return [Path(argument).stem if argument.endswith(".py") else argument for argument in process.cmdline()]


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

"""`manage.py start` (what `make run` calls): the whole product on this machine, with the demonstration, until Ctrl-C."""

import contextlib
import signal
import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from experiments.demo.outcome import demonstration_outcome, demonstration_url
from experiments.demo.story import demonstration_deleted, demonstration_launch
from experiments.errors import UserError
from experiments.local_stack import CannotStart, Stack, check_port, only_one, programs
from experiments.models import Experiment, User, Workspace
from experiments.owner_password import password_keep, password_make
from experiments.servers import check_database, check_redis
from experiments.services.accounts import owner_create, sign_in_url

OWNER = "owner@localhost.localdomain"
WORKSPACE = "Demonstration"
READY_SECONDS = 90.0
POLL_SECONDS = 0.5


class Stopped(Exception):
    """Ctrl-C or SIGTERM: end everything in order."""


class Command(BaseCommand):
    help = "Start web, workers and sweep on this machine, load the demonstration and run it once. Ctrl-C ends all of it."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--without-demonstration", action="store_true", help="Start the processes and nothing else.")

    def handle(self, *args: Any, port: int, without_demonstration: bool = False, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _stop)
        try:
            with only_one(settings.HOME):
                check_port(port)
                check_database(connection)
                check_redis()
                self._serve(port, demonstrate=not without_demonstration)
        except CannotStart as error:
            raise CommandError(str(error)) from error
        except Stopped:
            self._say("PromptLab has stopped.")

    def _serve(self, port: int, *, demonstrate: bool) -> None:
        self._say("Preparing the database and static files …")
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        owner, workspace = self._owner()
        url = f"http://127.0.0.1:{port}"
        with Stack(programs(port), settings.HOME / "logs") as stack, self._told_of_stopping():
            _wait_ready(stack, url)
            self._say(f"Logs: {stack.logs}")
            self._say(f"PromptLab is ready: {url}{sign_in_url(owner)}")
            experiment = self._demonstrate(workspace, owner, url) if demonstrate else None
            self._follow(stack, experiment, owner, url)

    @contextlib.contextmanager
    def _told_of_stopping(self) -> Iterator[None]:
        """Answer Ctrl-C at once: the processes take up to 25 seconds to end in order."""
        try:
            yield
        except Stopped:
            self._say("Stopping …")
            raise

    def _owner(self) -> tuple[User, Workspace]:
        password = password_make()
        new = not User.objects.filter(email=OWNER).exists()
        owner, workspace = owner_create(email=OWNER, password=password, workspace_name=WORKSPACE)
        if new:
            self._say(f"The local owner is {OWNER}; the password stands in {password_keep(settings.HOME, owner, password)}")
        return owner, workspace

    def _demonstrate(self, workspace: Workspace, owner: User, url: str) -> Experiment | None:
        if deleted := demonstration_deleted(workspace):
            self._say(f"The demonstration was deleted on {deleted.at:%Y-%m-%d} by {deleted.actor_label}, so it is not made again.")
            return None
        try:
            experiment = demonstration_launch(workspace=workspace, by=owner)
        except UserError as error:
            self._say(f"Demonstration failed: {error}")
            return None
        self._say(f"Demonstration experiment: {url}{demonstration_url(experiment)}")
        return experiment

    def _follow(self, stack: Stack, experiment: Experiment | None, owner: User, url: str) -> None:
        """Keep the processes alive until somebody ends the command, and tell once how the demonstration ended."""
        while True:
            for name in stack.restart_dead():
                self._say(f"{name} had ended and was started again; its log: {stack.logs / name}.log")
            outcome = demonstration_outcome(experiment, owner, url) if experiment else None
            if outcome:
                self._say(outcome)
                experiment = None
            time.sleep(POLL_SECONDS)

    def _say(self, line: str) -> None:
        """Plain and at once, so that a pipe or a log shows it when it happens."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _stop(*_: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def _wait_ready(stack: Stack, url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(f"{url}/healthz"):
        dead = stack.restart_dead()
        if "web" in dead or time.monotonic() > deadline:
            raise CannotStart(f"The web process does not answer. The end of its log ({stack.logs / 'web.log'}):\n{stack.log_tail('web')}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    opened: Callable[..., Any] = urllib.request.urlopen
    try:
        with opened(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False

"""The product as a person meets it: `manage.py start` with every process, and Debian's Chromium in front of it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, StorageState, expect, sync_playwright

from tests.browser import story
from tests.browser.story import Story
from tests.browser.visitor import PAGE_SECONDS, Look, Visitor

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
# Without these Chromium asks its maker's hosts for updates, which a closed network refuses many times a second.
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
READY = re.compile(r"PromptLab is ready: (http://[^/\s]+)(\S+)")

Arrive = Callable[..., Visitor]


@dataclass(frozen=True)
class Product:
    """A running instance.

    Args:
        url: its address, without a slash at the end.
        sign_in: path of a one-time link for the owner.
        environment: what its commands run with.
    """

    url: str
    sign_in: str
    environment: dict[str, str]

    def command(self, *arguments: str, **environment: str) -> str:
        """Run a command of `manage.py` on the instance and return what it prints."""
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment | environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    kept = {key: value for key, value in os.environ.items() if key not in ("DJANGO_SETTINGS_MODULE", "SECRET_KEY")}
    environment = kept | {"PROMPTLAB_HOME": str(tmp_path_factory.mktemp("home"))}
    command = [sys.executable, "manage.py", "start", "--port", str(_free_port()), "--without-demonstration"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        url, sign_in = _when_ready(process)
        yield Product(url, sign_in, environment)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _when_ready(process: "subprocess.Popen[str]") -> tuple[str, str]:
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if found := READY.search(line):
            return found[1], found[2]
    raise AssertionError(f"The product did not start:\n{''.join(said)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PAGE_SECONDS * 1000)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def session(browser: Browser, product: Product) -> StorageState:
    """The owner's session, begun with the one-time link. Opening the link signs nobody in; its button does."""
    return sign_in(browser, product, product.sign_in)


def sign_in(browser: Browser, product: Product, link: str) -> StorageState:
    """Follow a sign-in link and return the session."""
    newcomer = Visitor(browser, product.url)
    newcomer.open(link)
    newcomer.page.get_by_role("button", name="Sign in").click()
    expect(newcomer.page.get_by_role("heading", name="Overview")).to_be_visible()
    newcomer.check()
    state = newcomer.context.storage_state()
    newcomer.context.close()
    return state


@pytest.fixture
def arrive(browser: Browser, product: Product, session: StorageState) -> Iterator[Arrive]:
    """Opens windows: `arrive(look, signed_in=False)`. Every window is checked once more when the test ends."""
    visitors: list[Visitor] = []

    def arrive(look: Look | None = None, *, signed_in: bool = True) -> Visitor:
        visitors.append(Visitor(browser, product.url, look, session=session if signed_in else None))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.check()
        visitor.context.close()


@pytest.fixture(scope="session")
def told(browser: Browser, product: Product, session: StorageState, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The path, walked once for all tests."""
    expert = Visitor(browser, product.url, session=session)
    expert.open("/")
    walked = story.tell(expert, story.write_mail(tmp_path_factory.mktemp("mail") / "parcel_mail.csv"))
    expert.context.close()
    return walked

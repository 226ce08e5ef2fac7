"""The product as a person meets it: `manage.py start` with every process, and Debian's Chromium in front of it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
# Without these Chromium asks its maker's hosts for updates, which a closed network refuses many times a second.
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
READY = re.compile(r"PromptLab is ready: (http://[^/\s]+)(\S+)")


@dataclass(frozen=True)
class Product:
    """A running instance.

    Args:
        url: its address, without a slash at the end.
        sign_in: path of a one-time link for the owner.
    """

    url: str
    sign_in: str
    home: Path


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    home = tmp_path_factory.mktemp("home")
    environment = {key: value for key, value in os.environ.items() if key not in ("DJANGO_SETTINGS_MODULE", "SECRET_KEY")}
    command = [sys.executable, "manage.py", "start", "--port", str(_free_port()), "--without-demonstration"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment | {"PROMPTLAB_HOME": str(home)}, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield _when_ready(process, home)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _when_ready(process: "subprocess.Popen[str]", home: Path) -> Product:
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if found := READY.search(line):
            return Product(found[1], found[2], home)
    raise AssertionError(f"The product did not start:\n{''.join(said)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield opened
        opened.close()

"""The cast that access tests lean on: alice owns, erin engineers, dora is a domain expert, bob may read, charlie is a stranger."""

import gc
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import settings as hypothesis_settings
from pytest_django import DjangoDbBlocker

from experiments.models import Role, User, Workspace
from tests import factories

# Torch and tokenizers read these once. Idle threads sleep, or tests crawl on a busy machine; and of processes side by side each
# has one thread, for two with two threads each get in each other's way and cost several times as much.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# How long an example takes says nothing on a busy machine, and the first one may load a library.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

Made = TypeVar("Made")
MakeOnce = Callable[[Callable[[Workspace], Made]], Made]


@pytest.fixture(scope="module")
def make_once(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[MakeOnce[Any]]:
    """Makes what all tests of a module begin with, in the workspace that Alice owns. For modules in which every test wants it.

    The rows stand in a transaction around those of the tests, so each test's changes go with it and the rows with the last test.
    """

    def make(build: Callable[[Workspace], Made]) -> Made:
        with django_db_blocker.unblock():
            return build(factories.make_workspace("acme", owner=factories.make_user("alice@example.com", name="Alice")))

    around = transaction.atomic()
    with django_db_blocker.unblock():
        around.__enter__()
    yield make
    with django_db_blocker.unblock():
        transaction.set_rollback(True)
        around.__exit__(None, None, None)


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.filter(email="alice@example.com").first() or factories.make_user("alice@example.com", name="Alice")


@pytest.fixture
def workspace(alice: User) -> Workspace:
    return Workspace.objects.filter(slug="acme").first() or factories.make_workspace("acme", owner=alice)


@pytest.fixture
def erin(workspace: Workspace) -> User:
    user = factories.make_user("erin@example.com", name="Erin")
    factories.make_membership(workspace, user, Role.ML_ENGINEER)
    return user


@pytest.fixture
def dora(workspace: Workspace) -> User:
    user = factories.make_user("dora@example.com", name="Dora")
    factories.make_membership(workspace, user, Role.DOMAIN_EXPERT)
    return user


@pytest.fixture
def bob(workspace: Workspace) -> User:
    user = factories.make_user("bob@example.com", name="Bob")
    factories.make_membership(workspace, user, Role.VIEWER)
    return user


@pytest.fixture
def charlie(db: None) -> User:
    """Owns a workspace of their own and belongs to no other."""
    user = factories.make_user("charlie@example.com", name="Charlie")
    factories.make_workspace("elsewhere", owner=user)
    return user


@pytest.fixture
def one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of rate limits stands still, so that no window ends between two tries of a test."""
    monkeypatch.setattr("experiments.throttle.time", SimpleNamespace(time=lambda: 1_800_000_000.0))


@pytest.fixture
def client_for():
    """A signed-in browser client for a user."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


def pytest_collection_finish() -> None:
    """What collecting has made lives to the end: the garbage collector need not look at it again for every test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

"""The cast that access tests lean on: alice owns, erin engineers, dora is a domain expert, bob may read, charlie is a stranger."""

import pytest
from django.test import Client

from experiments.models import Role, User, Workspace
from tests import factories


@pytest.fixture
def alice(db: None) -> User:
    return factories.make_user("alice@example.com", name="Alice")


@pytest.fixture
def workspace(alice: User) -> Workspace:
    return factories.make_workspace("acme", owner=alice)


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
def client_for():
    """A signed-in browser client for a user."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in

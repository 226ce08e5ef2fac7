"""A caller with a key, as programs are: JSON in, JSON out, no cookies."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from experiments.models import ApiKey, Role, Workspace
from experiments.services.keys import api_key_create


@dataclass
class Caller:
    clear: str
    key: ApiKey | None = None

    def __call__(self, verb: str, path: str, body: Any = None, **headers: str) -> Any:
        options: dict[str, Any] = {"headers": {"Authorization": f"Bearer {self.clear}"} | headers}
        if body is not None:
            options |= {"data": body, "content_type": "application/json"}
        return getattr(Client(raise_request_exception=False), verb)(f"/api/v1/{path}", **options)


@pytest.fixture(autouse=True)
def _fresh_limits():
    cache.clear()


@pytest.fixture
def caller_for(db, alice):
    def make(workspace: Workspace, role: Role = Role.DOMAIN_EXPERT) -> Caller:
        key, clear = api_key_create(workspace=workspace, name=f"{role} program", role=role, by=alice)
        return Caller(clear, key)

    return make


@pytest.fixture
def call(caller_for, workspace):
    return caller_for(workspace)

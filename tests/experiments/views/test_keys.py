import re

import pytest

from experiments.models import ApiKey
from experiments.services.keys import api_key_find


@pytest.fixture
def owner(client_for, alice, workspace):
    return client_for(alice)


def test_new_key_is_shown_once_and_works(owner):
    page = owner.post("/w/acme/settings/keys/new/", {"name": "CI", "role": "viewer"}).content.decode()
    clear = re.findall(r"plk_[\w-]{43}", page)[0]

    assert api_key_find(clear) == ApiKey.objects.get()
    assert clear not in owner.get("/w/acme/settings/keys/").content.decode()


def test_page_with_a_key_is_kept_by_no_cache(owner):
    answer = owner.post("/w/acme/settings/keys/new/", {"name": "CI", "role": "viewer"})

    assert "no-store" in answer["Cache-Control"]


def test_key_for_owners_powers_cannot_be_made(owner):
    assert owner.post("/w/acme/settings/keys/new/", {"name": "CI", "role": "owner"}).status_code == 422
    assert not ApiKey.objects.exists()


def test_revoked_key_stays_listed_and_is_dead(owner):
    owner.post("/w/acme/settings/keys/new/", {"name": "CI", "role": "viewer"})

    owner.post(f"/w/acme/settings/keys/{ApiKey.objects.get().pk}/revoke/")

    assert ApiKey.objects.get().revoked_at
    assert "Revoked" in owner.get("/w/acme/settings/keys/").content.decode()


def test_stranger_and_domain_expert_cannot_revoke(owner, client_for, charlie, dora):
    owner.post("/w/acme/settings/keys/new/", {"name": "CI", "role": "viewer"})
    path = f"/w/acme/settings/keys/{ApiKey.objects.get().pk}/revoke/"

    assert client_for(charlie).post(path).status_code == 404
    assert client_for(dora).post(path).status_code == 403
    assert ApiKey.objects.get().revoked_at is None

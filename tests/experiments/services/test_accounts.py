from urllib.parse import parse_qs, urlsplit

import pytest

from experiments.errors import UserError
from experiments.models import AuditEntry, Backbone, Job, Membership, Role, User, Workspace
from experiments.services import accounts
from tests.factories import make_membership, make_user, make_workspace


def token_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["token"][0]


def test_new_workspace_has_its_maker_as_owner_and_the_starter_to_begin_on(alice):
    workspace = accounts.workspace_create(name="Support Desk", by=alice)

    assert workspace.slug == "support-desk"
    assert Membership.objects.get(workspace=workspace).role == Role.OWNER
    assert Backbone.objects.get(workspace=None).kind == "bundled"
    assert AuditEntry.objects.filter(workspace=workspace).last().verb == "created"


def test_the_starter_is_verified_without_being_asked_and_once(alice):
    first = accounts.workspace_create(name="Support", by=alice)
    accounts.workspace_create(name="Support", by=alice)

    job = Job.objects.get(kind="inspect")
    assert (job.workspace, job.queue) == (first, "interactive")
    Backbone.objects.update(verified_at=job.created_at, job=None)
    accounts.workspace_create(name="Third", by=alice)
    assert Job.objects.count() == 1


def test_two_workspaces_of_one_name_share_one_starter_and_no_address(alice):
    first, second = (accounts.workspace_create(name="Support", by=alice) for _ in range(2))

    assert first.slug != second.slug
    assert Backbone.objects.filter(workspace=None).count() == 1


def test_workspace_with_a_name_without_latin_letters_gets_an_address(alice):
    assert accounts.workspace_create(name="支援", by=alice).slug.startswith("workspace")


@pytest.mark.parametrize("is_slug_taken", [False, True])
def test_owner_create_finds_its_workspace_after_somebody_renamed_it(db, is_slug_taken):
    if is_slug_taken:
        make_workspace("home", owner=make_user("other@example.com"))
    words = {"email": "owner@example.com", "password": "a long random phrase", "workspace_name": "Home"}
    owner, home = accounts.owner_create(**words)

    accounts.workspace_rename(workspace=home, name="Our playground", by=owner)

    assert accounts.owner_create(**words) == (owner, home)


def test_owner_create_tells_names_without_latin_letters_apart(db):
    made = [accounts.owner_create(email="owner@example.com", password="a long random phrase", workspace_name=name)[1] for name in "团队"]

    assert made[0] != made[1]


def test_owner_create_run_twice_changes_nothing(db):
    first = accounts.owner_create(email="owner@example.com", password="a long random phrase", workspace_name="Home")
    again = accounts.owner_create(email="OWNER@example.com", password="another long phrase", workspace_name="Home")

    assert again == first
    assert User.objects.count() == Workspace.objects.count() == 1
    assert User.objects.get().check_password("a long random phrase")


def test_weak_password_is_refused_with_the_reason(db):
    with pytest.raises(UserError, match="at least 12 characters"):
        accounts.user_create(email="new@example.com", password="short")


def test_email_in_use_is_refused_whatever_its_case(alice):
    with pytest.raises(UserError, match="exists already"):
        accounts.user_create(email="ALICE@example.com", password=None)


def test_last_owner_can_neither_leave_nor_step_down(alice, workspace, bob):
    membership = Membership.objects.get(user=alice, workspace=workspace)

    with pytest.raises(accounts.LastOwner):
        accounts.membership_remove(membership=membership, by=alice)
    with pytest.raises(accounts.LastOwner):
        accounts.membership_change_role(membership=membership, role=Role.VIEWER, by=alice)

    assert Membership.objects.filter(user=alice, role=Role.OWNER).exists()


def test_one_of_two_owners_may_step_down(alice, workspace):
    second = make_membership(workspace, make_user("second@example.com"), Role.OWNER)

    accounts.membership_change_role(membership=second, role=Role.VIEWER, by=alice)

    assert Membership.objects.get(pk=second.pk).role == Role.VIEWER
    assert AuditEntry.objects.get(verb="changed the role of").detail == {"from": "owner", "to": "viewer"}


def test_removed_member_is_gone_and_the_trail_says_who_did_it(alice, workspace, bob):
    accounts.membership_remove(membership=Membership.objects.get(user=bob), by=alice)

    assert not Membership.objects.filter(user=bob).exists()
    assert AuditEntry.objects.get(verb="removed").actor == alice


def test_sign_in_token_works_once(alice):
    token = token_of(accounts.sign_in_url(alice))

    assert accounts.sign_in_token_spend(token) == alice
    assert accounts.sign_in_token_spend(token) is None


def test_one_sign_in_ends_every_other_open_link_of_the_person(alice):
    first, second = token_of(accounts.sign_in_url(alice)), token_of(accounts.sign_in_url(alice))

    accounts.sign_in_token_spend(first)

    assert accounts.sign_in_token_spend(second) is None


def test_sign_in_token_of_a_disabled_account_is_refused(alice):
    token = token_of(accounts.sign_in_url(alice))
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert accounts.sign_in_token_spend(token) is None


@pytest.mark.parametrize("token", ["", "x", "é", "A" * 10_000, "\x00", "../../etc"])
def test_nonsense_tokens_are_refused_quietly(db, token):
    assert accounts.sign_in_token_spend(token) is None


def test_sign_in_token_expires_after_15_minutes(alice, monkeypatch):
    import sesame.tokens_v2 as tokens

    token = token_of(accounts.sign_in_url(alice))
    now = tokens.time.time()
    monkeypatch.setattr(tokens.time, "time", lambda: now + 15 * 60)

    assert accounts.sign_in_token_spend(token) is None


def test_rename_keeps_the_address(alice):
    workspace = make_workspace("acme", owner=alice)

    accounts.workspace_rename(workspace=workspace, name="Acme Support", by=alice)

    workspace.refresh_from_db()
    assert (workspace.name, workspace.slug) == ("Acme Support", "acme")

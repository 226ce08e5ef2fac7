import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import AuditEntry, Invitation, Membership, Role, Workspace
from tests.factories import make_membership, make_user, make_workspace


@pytest.fixture
def owner(client_for, alice, workspace):
    return client_for(alice)


def test_members_see_each_other_and_only_owners_see_forms(client_for, owner, bob):
    seen = client_for(bob).get("/w/acme/settings/").content.decode()

    assert "alice@example.com" in seen
    assert "Make an invitation" not in seen
    assert "Make an invitation" in owner.get("/w/acme/settings/").content.decode()


def test_stranger_gets_404_for_every_part_of_the_settings(client_for, charlie, workspace):
    for part in ("", "keys/", "prices/", "links/", "audit/"):
        assert client_for(charlie).get(f"/w/acme/settings/{part}").status_code == 404


def test_viewer_may_neither_rename_invite_nor_read_keys_and_trail(client_for, bob, workspace):
    viewer = client_for(bob)

    assert viewer.post("/w/acme/settings/", {"name": "Mine"}).status_code == 403
    assert viewer.post("/w/acme/settings/members/invite/", {"email": "x@example.com", "role": "owner"}).status_code == 403
    assert viewer.get("/w/acme/settings/keys/").status_code == 403
    assert viewer.get("/w/acme/settings/audit/").status_code == 403


def test_owner_renames_the_workspace(owner):
    assert owner.post("/w/acme/settings/", {"name": "Acme Support"}).status_code == 302
    assert Workspace.objects.get(slug="acme").name == "Acme Support"


def test_invitation_link_is_shown_once_and_works(owner, client_for, charlie):
    page = owner.post("/w/acme/settings/members/invite/", {"email": "charlie@example.com", "role": "viewer"}).content.decode()
    link = re.findall(r"http://testserver(/invitations/[\w-]+/)", page)[0]

    assert client_for(charlie).post(link).status_code == 302
    assert link not in owner.get("/w/acme/settings/").content.decode()


@pytest.mark.parametrize("typed", [{"email": "no email", "role": "viewer"}, {"email": "x@example.com", "role": "emperor"}, {}])
def test_malformed_invitation_is_refused_beside_the_field(owner, typed):
    answer = owner.post("/w/acme/settings/members/invite/", typed)

    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()


def test_withdrawn_invitation_is_gone(owner):
    owner.post("/w/acme/settings/members/invite/", {"email": "x@example.com", "role": "viewer"})

    owner.post(f"/w/acme/settings/invitations/{Invitation.objects.get().pk}/withdraw/")

    assert not Invitation.objects.exists()


def test_owner_changes_a_role_and_removes_a_member(owner, bob):
    member = Membership.objects.get(user=bob)

    owner.post(f"/w/acme/settings/members/{member.pk}/role/", {"role": "ml_engineer"})
    assert Membership.objects.get(pk=member.pk).role == Role.ML_ENGINEER

    owner.post(f"/w/acme/settings/members/{member.pk}/remove/")
    assert not Membership.objects.filter(pk=member.pk).exists()


def test_last_owner_is_told_why_they_stay(owner, alice):
    member = Membership.objects.get(user=alice)

    page = owner.post(f"/w/acme/settings/members/{member.pk}/remove/", follow=True).content.decode()

    assert "at least one owner" in page
    assert Membership.objects.filter(pk=member.pk).exists()


def test_sole_owner_is_offered_no_way_out_and_a_second_owner_is(owner, alice, bob):
    member = Membership.objects.get(user=alice)
    theirs = f"/w/acme/settings/members/{member.pk}/remove/"

    alone = owner.get("/w/acme/settings/").content.decode()
    Membership.objects.filter(user=bob).update(role=Role.OWNER)
    together = owner.get("/w/acme/settings/").content.decode()

    assert (theirs in alone, theirs in together) == (False, True)


def test_membership_of_another_workspace_is_out_of_reach(owner, charlie):
    theirs = Membership.objects.get(user=charlie)

    assert owner.post(f"/w/acme/settings/members/{theirs.pk}/remove/").status_code == 404
    assert Membership.objects.filter(pk=theirs.pk).exists()


def test_owner_of_two_workspaces_cannot_act_on_one_through_the_address_of_the_other(owner, alice):
    other = make_workspace("second", owner=alice)
    member = make_membership(other, make_user("x@example.com"))

    assert owner.post(f"/w/acme/settings/members/{member.pk}/remove/").status_code == 404


def test_changes_ask_for_post(owner, bob):
    member = Membership.objects.get(user=bob)

    for path in ("members/invite/", f"members/{member.pk}/role/", f"members/{member.pk}/remove/", "keys/new/"):
        assert owner.get(f"/w/acme/settings/{path}").status_code == 405


def test_audit_trail_reads_in_the_words_of_the_pages(owner, workspace):
    for verb, kind, name in (
        ("made", "share", "Board …abc123"),
        ("launched", "experiment", "Which way?"),
        ("made", "invitation", "x@y invited to Acme"),
    ):
        AuditEntry.objects.create(workspace=workspace, actor_label="a", verb=verb, target_kind=kind, target_id="1", target_name=name)

    page = owner.get("/w/acme/settings/audit/").content.decode()

    for sentence in ("made the link <strong>Board …abc123", "launched the comparison <strong>Which way?", "invited <strong>x@y</strong>"):
        assert sentence in page


def test_audit_trail_is_shown_newest_first_in_pages(owner, alice, workspace):
    for number in range(60):
        AuditEntry.objects.create(
            workspace=workspace, actor=alice, actor_label="a", verb=f"step-{number:02}", target_kind="x", target_id="1"
        )

    first = owner.get("/w/acme/settings/audit/").content.decode()
    older = owner.get("/w/acme/settings/audit/" + re.findall(r"\?before=\d+", first)[0]).content.decode()

    assert first.index("step-59") < first.index("step-10")
    assert "step-09" not in first
    assert "step-09" in older
    assert "step-10" not in older


@pytest.mark.parametrize("before", ["x", "-1", "9" * 40, "²", "1;drop"])
def test_nonsense_in_the_trails_address_is_ignored(owner, before):
    assert owner.get("/w/acme/settings/audit/", {"before": before}).status_code == 200


def test_settings_take_the_same_number_of_queries_for_one_and_twenty_members(owner, workspace):
    def num_queries():
        with CaptureQueriesContext(connection) as seen:
            owner.get("/w/acme/settings/")
        return len(seen)

    few = num_queries()
    for number in range(20):
        make_membership(workspace, make_user(f"user{number}@example.com"))

    assert num_queries() == few <= 8


def test_an_owner_makes_another_workspace_from_the_menu_and_it_is_written_down(owner, alice):
    link = re.search(r'href="([^"]+)">New workspace</a>', owner.get("/w/acme/").content.decode())

    form = owner.get(link.group(1)).content.decode()
    answer = owner.post(link.group(1), {"name": "Support Desk"})
    page = owner.get(answer.url).content.decode()

    assert "Make the workspace" in form
    assert answer.url == "/w/support-desk/"
    assert Membership.objects.get(workspace__slug="support-desk").role == Role.OWNER
    entry = AuditEntry.objects.filter(workspace__slug="support-desk").earliest("pk")
    assert (entry.actor, entry.verb, entry.target_name) == (alice, "created", "Support Desk")
    assert "“Support Desk” is yours, and empty." in page


@pytest.mark.parametrize("name", ["Acme", "ACME", "  "])
def test_a_workspace_of_a_name_that_one_has_already_or_of_none_is_not_made(owner, name):
    page = owner.post("/w/new/", {"name": name})

    assert page.status_code == 422
    assert ("already. Choose another name" in page.content.decode()) == bool(name.strip())
    assert Workspace.objects.count() == 1


def test_who_owns_no_workspace_is_offered_none_and_refused_in_words(client_for, erin):
    client = client_for(erin)

    answers = [client.get("/w/new/"), client.post("/w/new/", {"name": "Mine"})]

    assert "New workspace" not in client.get("/w/acme/").content.decode()
    assert [answer.status_code for answer in answers] == [403, 403]
    assert all("A new workspace is made by people who own one already" in answer.content.decode() for answer in answers)
    assert Workspace.objects.count() == 1


def test_an_administrator_without_a_workspace_makes_the_first_one(client_for, db):
    admin = client_for(make_user("admin@example.com", is_staff=True))

    assert 'href="/w/new/"' in admin.get("/").content.decode()
    assert admin.post("/w/new/", {"name": "First"}).url == "/w/first/"

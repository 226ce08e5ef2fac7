from datetime import timedelta

import pytest
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import Invitation, Membership, Role, User
from experiments.services import invitations
from tests.factories import make_user


def invite(workspace, alice, email="new@example.com", role=Role.DOMAIN_EXPERT):
    return invitations.invitation_create(workspace=workspace, email=email, role=role, by=alice)


def test_invitation_token_is_stored_only_as_a_hash(workspace, alice):
    _, token = invite(workspace, alice)

    assert token not in str(Invitation.objects.values().get())


def test_new_person_joins_with_the_offered_role(workspace, alice):
    invitation, token = invite(workspace, alice)

    user = invitations.invitation_accept_as_new(invitation=invitation, name="New", password="correct horse battery")

    assert Membership.objects.get(user=user, workspace=workspace).role == Role.DOMAIN_EXPERT
    assert invitations.invitation_find(token) is None


def test_weak_password_leaves_no_account_and_the_offer_open(workspace, alice):
    invitation, token = invite(workspace, alice)

    with pytest.raises(UserError):
        invitations.invitation_accept_as_new(invitation=invitation, name="New", password="short")

    assert not User.objects.filter(email="new@example.com").exists()
    assert invitations.invitation_find(token) == invitation


def test_offer_holds_once(workspace, alice):
    user = make_user("new@example.com")
    invitation, _ = invite(workspace, alice)
    invitations.invitation_accept(invitation=invitation, user=user)

    with pytest.raises(UserError, match="used already"):
        invitations.invitation_accept(invitation=invitation, user=user)


def test_offer_is_only_for_the_person_it_was_made_to(workspace, alice, charlie):
    invitation, _ = invite(workspace, alice)

    with pytest.raises(UserError, match="This invitation is for"):
        invitations.invitation_accept(invitation=invitation, user=charlie)


def test_expired_and_withdrawn_offers_are_not_found(workspace, alice):
    old, old_token = invite(workspace, alice, "old@example.com")
    Invitation.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    gone, gone_token = invite(workspace, alice, "gone@example.com")
    invitations.invitation_withdraw(invitation=gone, by=alice)

    assert invitations.invitation_find(old_token) is None
    assert invitations.invitation_find(gone_token) is None


def test_second_offer_to_one_person_ends_the_first(workspace, alice):
    _, first = invite(workspace, alice)
    _, second = invite(workspace, alice)

    assert invitations.invitation_find(first) is None
    assert invitations.invitation_find(second) is not None


def test_member_is_not_invited_again(workspace, alice, bob):
    with pytest.raises(UserError, match="member already"):
        invite(workspace, alice, "BOB@example.com")


def test_offer_never_lowers_or_raises_a_role_held_already(workspace, alice):
    invitation, _ = invite(workspace, alice, "new@example.com", Role.OWNER)
    user = make_user("new@example.com")
    Membership.objects.create(workspace=workspace, user=user, role=Role.VIEWER)

    invitations.invitation_accept(invitation=invitation, user=user)

    assert Membership.objects.get(user=user).role == Role.VIEWER

import pytest
from django.core.cache import cache
from django.test import Client

from experiments.models import Membership, Role, User
from experiments.services.accounts import sign_in_url
from experiments.services.invitations import invitation_create
from tests.factories import make_user

GOOD_PASSWORD = "four words and more"


@pytest.fixture(autouse=True)
def _fresh_limits():
    cache.clear()


@pytest.fixture
def invite(workspace, alice):
    def make(email="new@example.com", role=Role.DOMAIN_EXPERT):
        _, token = invitation_create(workspace=workspace, email=email, role=role, by=alice)
        return f"/invitations/{token}/"

    return make


def test_opening_a_sign_in_link_changes_nothing_and_signs_nobody_in(alice):
    browser, link = Client(), sign_in_url(alice)
    before = User.objects.values().get(pk=alice.pk)

    page = browser.get(link)
    browser.head(link)

    assert page.status_code == 200
    assert "_auth_user_id" not in browser.session
    assert User.objects.values().get(pk=alice.pk) == before


def test_the_button_signs_in_once(alice, workspace):
    token = sign_in_url(alice).partition("token=")[2]

    first = Client().post("/sign-in/", {"token": token})
    again = Client().post("/sign-in/", {"token": token})

    assert first.status_code == 302
    assert again.status_code == 403


def test_bad_expired_and_used_links_get_the_same_answer(alice):
    used = sign_in_url(alice).partition("token=")[2]
    Client().post("/sign-in/", {"token": used})

    answers = {Client().post("/sign-in/", {"token": token}).content for token in (used, "nonsense", "", "x" * 5_000)}

    assert len(answers) == 1


def test_sign_in_by_link_asks_for_the_forms_own_token(alice):
    token = sign_in_url(alice).partition("token=")[2]

    assert Client(enforce_csrf_checks=True).post("/sign-in/", {"token": token}).status_code == 403
    assert Client().post("/sign-in/", {"token": token}).status_code == 302


def test_sign_in_links_cannot_be_tried_without_end(db, one_window):
    answers = [Client().post("/sign-in/", {"token": "x"}).status_code for _ in range(21)]

    assert answers == [403] * 20 + [429]


def test_wrong_passwords_are_stopped_and_the_account_holder_is_not_told_apart(alice):
    tries = [Client().post("/accounts/login/", {"login": "alice@example.com", "password": f"wrong {n}"}) for n in range(12)]
    unknown = Client().post("/accounts/login/", {"login": "nobody@example.com", "password": "wrong"})

    assert "too many" in tries[-1].content.decode().lower() or tries[-1].status_code == 429
    assert unknown.status_code in (200, 429)


@pytest.mark.parametrize("path", ["email/", "confirm-email/", "confirm-email/abc:def/", "login/code/confirm/"])
def test_pages_of_the_sign_in_library_that_are_not_used_stay_shut(client_for, alice, path):
    assert client_for(alice).get(f"/accounts/{path}").status_code == 404


def test_sign_in_says_each_label_once_and_in_plain_words(db):
    page = Client().get("/accounts/login/").content.decode()

    assert "Stay signed in on this computer" in page
    assert "placeholder" not in page


def test_somebody_without_a_password_sets_one(client_for, alice):
    alice.set_unusable_password()
    alice.save()

    page = client_for(alice).get("/accounts/password/change/", follow=True)

    assert page.status_code == 200
    assert "narrow-page" in page.content.decode()
    assert "Set a password" in page.content.decode()


def test_nobody_signs_up_without_an_invitation(db):
    Client().post("/accounts/signup/", {"email": "me@example.com", "password1": GOOD_PASSWORD, "password2": GOOD_PASSWORD})

    assert not User.objects.exists()


def test_invited_person_makes_an_account_and_is_in(invite, workspace):
    browser, link = Client(), invite()

    page = browser.get(link)
    answer = browser.post(link, {"name": "New", "password": GOOD_PASSWORD})

    assert "Acme" in page.content.decode()
    assert answer["Location"] == "/w/acme/"
    assert Membership.objects.get(user__email="new@example.com").role == Role.DOMAIN_EXPERT
    assert browser.get(link).status_code == 404


def test_weak_password_is_told_and_nothing_is_made(invite):
    answer = Client().post(invite(), {"name": "New", "password": "short"})

    assert answer.status_code == 422
    assert "at least 12 characters" in answer.content.decode()
    assert not User.objects.filter(email="new@example.com").exists()


def test_invited_person_with_an_account_is_sent_to_sign_in_and_back(invite):
    make_user("old@example.com")
    link = invite("old@example.com")

    page = Client().get(link).content.decode()

    assert f"/accounts/login/?next={link}" in page
    assert 'name="password"' not in page


def test_signed_in_person_joins_with_one_button(invite, client_for):
    user = make_user("old@example.com")
    answer = client_for(user).post(invite("old@example.com"))

    assert answer.status_code == 302
    assert Membership.objects.filter(user=user).exists()


def test_somebody_else_cannot_take_an_invitation(invite, client_for, charlie):
    answer = client_for(charlie).post(invite())

    assert answer.status_code == 422
    assert "new@example.com" in answer.content.decode()
    assert not Membership.objects.filter(user=charlie, workspace__slug="acme").exists()


def test_unknown_invitation_is_404(db):
    assert Client().get("/invitations/nonsense/").status_code == 404

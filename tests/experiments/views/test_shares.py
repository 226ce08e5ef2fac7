"""Links that open a report signed out: least power, one answer to everything wrong, and no trace of the token."""

import json
import logging
import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments.models import AuditEntry, Experiment, Report, Share
from experiments.services.reports import report_create, share_create, share_revoke
from tests.comparison_data import make_finished_experiment, make_price_book

pytestmark = pytest.mark.django_db

SEALS = {
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Cache-Control": "private, no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


@pytest.fixture(autouse=True)
def _fresh_counters():
    cache.clear()


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    def build(workspace):
        experiment = make_finished_experiment(workspace, price_book=make_price_book(workspace))
        return report_create(experiment=experiment, by=workspace.memberships.get().user)

    return make_once(build)


@pytest.fixture
def report(made):
    return Report.objects.get(pk=made.pk)


@pytest.fixture
def shared(report, alice):
    return share_create(report=report, by=alice)


def opened(token, client=None, **headers):
    return (client or Client()).get(f"/s/{token}/", headers=headers)


def test_link_opens_the_report_signed_out(shared):
    page = opened(shared[1])

    assert page.status_code == 200
    assert "LoRA" in page.content.decode()


def test_visitor_gets_no_cookie_and_no_session_is_read(shared, client_for, bob):
    client = client_for(bob)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = opened(shared[1], client)

    assert not page.cookies
    assert "Bob" not in page.content.decode()
    assert not any(Session._meta.db_table in query["sql"] or "experiments_user" in query["sql"] for query in queries)


@pytest.mark.parametrize("status", [200, 404, 429])
def test_every_answer_carries_the_seals(shared, one_window, status):
    for _ in range(21 if status == 429 else 0):
        opened("x")
    page = opened(shared[1] if status == 200 else "x")

    assert page.status_code == status
    for name, value in SEALS.items():
        assert page[name] == value
    policy = page["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert "connect-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert 'name="robots" content="noindex' in page.content.decode()


def test_everything_wrong_gets_the_same_answer(shared, alice, report):
    share, token = shared
    expired, expired_token = share_create(report=report, by=alice)
    Share.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    revoked, revoked_token = share_create(report=report, by=alice)
    share_revoke(share=revoked, by=alice)
    swapped = token.swapcase()
    wrong = [expired_token, revoked_token, swapped, "A" * 43, ":token", "%00", token + "x", token[:-1], str(share.pk), "../" + token]

    pages = [opened(each) for each in wrong]

    assert {page.status_code for page in pages} == {404}
    assert len({_without_nonce(page) for page in pages}) == 1


def _without_nonce(page):
    text = page.content.decode()
    return text.replace(text.split('nonce="')[1].split('"')[0], "N")


@pytest.mark.parametrize("path", ["/s/", "/s/{token}", "/s/{token}//", "/s/{token}/other", "/s/{token}/../", "/S/{token}/"])
def test_other_addresses_open_nothing(shared, path):
    assert Client().get(path.format(token=shared[1])).status_code == 404


def test_a_path_of_many_megabytes_opens_nothing():
    assert opened("a" * 2_000_000).status_code == 404


def test_posting_to_a_link_opens_nothing(shared):
    assert Client(enforce_csrf_checks=True).post(f"/s/{shared[1]}/").status_code == 404


def test_misses_are_limited_by_address(shared, one_window):
    answers = [opened("x").status_code for _ in range(22)]

    assert answers == [404] * 20 + [429] * 2
    assert int(opened("x")["Retry-After"]) <= 60


def test_revoked_link_is_dead_at_once(shared, alice):
    share, token = shared
    assert opened(token).status_code == 200

    share_revoke(share=share, by=alice)

    assert opened(token).status_code == 404


def test_deleting_the_experiment_kills_the_link(shared, report):
    Experiment.objects.all().delete()

    assert opened(shared[1]).status_code == 404


def test_token_stands_nowhere_in_the_database(shared):
    _, token = shared
    opened(token)

    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 - names from the database itself
            assert token not in str(cursor.fetchall())


def test_token_reaches_no_log(shared, caplog):
    _, token = shared
    with caplog.at_level(logging.DEBUG):
        opened(token)
        opened(token[::-1])
        Client().get(f"/s/{token}/table.csv")
        Client().get(f"/s/{token}")

    records = " ".join(record.getMessage() + str(record.__dict__) for record in caplog.records)
    assert "request_finished" in records
    assert token not in records
    assert token[::-1] not in records


def test_audit_names_the_link_by_its_last_characters(shared):
    _, token = shared

    assert AuditEntry.objects.get(target_kind="share").target_name == f"…{token[-6:]}"


def test_people_are_counted_and_link_previews_are_not(shared):
    share, token = shared

    opened(token)
    opened(token, user_agent="Slackbot-LinkExpanding 1.0")

    share.refresh_from_db()
    assert share.num_opened == 1
    assert share.last_opened_on == timezone.now().date()


def test_csv_of_the_link_is_the_snapshot(shared, report):
    answer = Client().get(f"/s/{shared[1]}/table.csv")
    text = answer.getvalue().decode()

    assert answer.streaming
    assert answer["Content-Disposition"] == 'attachment; filename="report.csv"'
    assert text.count("\n") == 1 + len(report.payload["rows"])
    assert answer["Referrer-Policy"] == "no-referrer"


def test_visitors_page_links_nowhere_else(shared):
    page = opened(shared[1]).content.decode()

    assert page.count("<a ") == 1
    assert 'href="table.csv"' in page
    assert "://" not in page


def test_page_needs_no_inline_style_and_every_script_has_the_nonce(shared):
    page = opened(shared[1]).content.decode()

    assert "style=" not in page
    assert "<style" not in page
    assert page.count("<script nonce=") == 2
    assert page.count("<script") == 2 + page.count('type="application/json"')


def test_operator_can_switch_links_off(shared, settings):
    settings.SHARE_LINKS = False

    assert opened(shared[1]).status_code == 404


def test_pages_of_members_say_that_links_are_switched_off_and_offer_none(client_for, alice, report, shared, settings):
    def pages():
        addresses = reverse("share-list", args=["acme"]), reverse("report-detail", args=["acme", report.pk])
        return [client_for(alice).get(address).content.decode() for address in addresses]

    listed, page = pages()
    assert "Links that open now" in listed
    assert reverse("share-create", args=["acme", report.pk]) in page
    assert "switched shared links off" not in listed + page

    settings.SHARE_LINKS = False
    listed, page = pages()
    assert "Links that open now" not in listed
    assert reverse("share-create", args=["acme", report.pk]) not in page
    for text in (listed, page):
        assert "switched shared links off" in text
        assert reverse("share-revoke", args=["acme", shared[0].pk]) in text, "it can still be ended for good"


def test_member_makes_a_link_that_is_shown_once(client_for, alice, report):
    client = client_for(alice)

    made = client.post(reverse("share-create", args=["acme", report.pk]), {"days": "30", "name": "Board"}).content.decode()
    later = client.get(reverse("report-detail", args=["acme", report.pk])).content.decode()

    address = made.split("data-share-address>")[1].split("<")[0]
    assert opened(address.rstrip("/").split("/")[-1]).status_code == 200
    assert "data-share-address" not in later
    assert f"…{address.rstrip('/')[-6:]}" in later, "the list shows the end of the link that was handed out"
    assert "Board" in later
    assert Share.objects.get().expires_at > timezone.now() + timedelta(days=29)


def test_a_link_without_a_name_is_listed_by_who_made_it_and_when(client_for, alice, report, shared):
    page = client_for(alice).get(reverse("report-detail", args=["acme", report.pk])).content.decode()
    row = re.search(r'<th scope="row" dir="auto">(.*?)</th>', page[page.index('aria-label="Links"') :], re.DOTALL)[1]

    assert re.match(rf'\s*Alice, <time datetime="{shared[0].created_at:%Y-%m-%dT%H:%M}[^>]*>[^<]+</time>\s*<span', row)


@pytest.mark.parametrize("days", ["0", "366", "never", ""])
def test_a_link_always_ends(client_for, alice, report, days):
    answer = client_for(alice).post(reverse("share-create", args=["acme", report.pk]), {"days": days})

    assert answer.status_code == 400
    assert not Share.objects.exists()


def test_viewer_may_neither_share_nor_revoke(client_for, bob, shared, report):
    client = client_for(bob)

    assert client.post(reverse("share-create", args=["acme", report.pk]), {"days": "30"}).status_code == 403
    assert client.post(reverse("share-revoke", args=["acme", shared[0].pk])).status_code == 403


def test_stranger_may_not_revoke_and_get_changes_nothing(client_for, charlie, alice, shared):
    address = reverse("share-revoke", args=["acme", shared[0].pk])

    assert client_for(charlie).post(address).status_code == 404
    assert client_for(alice).get(address).status_code == 405
    assert opened(shared[1]).status_code == 200


def test_member_revokes_a_link(client_for, alice, shared):
    client_for(alice).post(reverse("share-revoke", args=["acme", shared[0].pk]))

    assert opened(shared[1]).status_code == 404


def test_payload_of_the_page_holds_no_id_of_the_database(shared, report):
    page = opened(shared[1]).content.decode()

    for noun in [report, report.experiment, *report.experiment.approaches.all()]:
        assert str(noun.pk) not in page
        assert str(noun.pk) not in json.dumps(report.payload)
    assert settings.SECRET_KEY not in page

"""What every answer carries and what none may: headers on pages and errors, no secret in pages and logs, forms that check their origin."""

import io
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from django.conf import settings as django_settings
from django.core.cache import cache
from django.test import Client

from experiments.models import Job, Role
from experiments.services.accounts import sign_in_url
from experiments.services.invitations import invitation_create
from experiments.services.keys import api_key_create
from experiments.services.reports import report_create, share_create
from tests.comparison_data import make_finished_experiment
from tests.experiments.test_access_matrix import routes

ROOT = Path(__file__).parents[2]
PAGES = [
    "/w/acme/",
    "/w/acme/data/",
    "/w/acme/prompts/",
    "/w/acme/comparisons/new/",
    "/w/acme/library/",
    "/w/acme/settings/keys/",
    "/admin/",
]


@pytest.fixture(autouse=True)
def _fresh_limits():
    cache.clear()


def directives(answer) -> dict[str, set[str]]:
    parts = [part.split() for part in answer["Content-Security-Policy"].split(";") if part.strip()]
    return {part[0]: set(part[1:]) for part in parts}


def check_headers(answer) -> None:
    policy = directives(answer)
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == {"'none'"}
    assert policy.get("object-src", policy["default-src"]) == {"'none'"}
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:"} & (policy["script-src"] | policy.get("style-src", set()))
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] in ("same-origin", "no-referrer")
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_carry_every_header_and_no_inline_code(client_for, alice, workspace, path):
    type(alice).objects.filter(pk=alice.pk).update(is_staff=True)
    answer = client_for(alice).get(path)

    assert answer.status_code == 200
    check_headers(answer)
    html = answer.content.decode()
    assert not re.search(r"<style[\s>]|\sstyle=\"|\son[a-z]+=\"|javascript:", html)
    assert not re.search(r"<script(?![^>]*\b(src=|type=\"application/json\"))", html)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html), "nothing is loaded from another host"


def test_errors_carry_every_header_too(client_for, alice, workspace, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("canary-detail")

    monkeypatch.setattr("experiments.views.library.get_workspace_for", broken)
    browser = client_for(alice)
    browser.raise_request_exception = False
    answers = {
        404: browser.get("/w/nowhere/"),
        405: browser.post("/w/acme/settings/audit/"),
        403: Client(enforce_csrf_checks=True).post("/sign-in/", {"token": "x"}),
        400: browser.get("/w/acme/", headers={"Host": "evil.example"}),
        500: browser.get("/w/acme/library/"),
        401: Client().get("/api/v1/datasets"),
    }

    for status, answer in answers.items():
        assert answer.status_code == status
        check_headers(answer)
        assert "canary-detail" not in answer.content.decode()
        assert "Traceback" not in answer.content.decode()


def test_foreign_hosts_are_refused(db):
    assert Client().get("/healthz", headers={"Host": "evil.example"}).status_code == 400


def test_every_unsafe_page_asks_for_the_forms_own_token(client_for, alice, workspace):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    keyed_or_sealed = ("api/", "s/")

    for route in routes():
        if route.pattern.startswith(keyed_or_sealed):
            continue
        path = "/" + re.sub(r"<(?:\w+:)?(\w+)>|\(\?P<\w+>[^)]*\)|[\^$]", _any_id, route.pattern)
        answer = browser.post(path)
        assert answer.status_code in (403, 404, 405), (route.pattern, answer.status_code)
        if answer.status_code == 403:
            assert b"too old" in answer.content or b"role" in answer.content or b"CSRF" in answer.content, route.pattern


def _any_id(found: re.Match[str]) -> str:
    name = found[1] or ""
    if name == "slug":
        return "acme"
    if name == "membership_id":
        return "1"
    return "00000000-0000-0000-0000-000000000000" if name.endswith("_id") else "x" if found[0][0] in "<(" else ""


def test_cross_site_origin_is_refused_even_with_a_token(client_for, alice, workspace):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    page = browser.get("/w/acme/settings/").content.decode()
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[0]
    form = {"name": "Mine", "csrfmiddlewaretoken": token}

    assert browser.post("/w/acme/settings/", form, headers={"Origin": "https://evil.example"}).status_code == 403
    assert browser.post("/w/acme/settings/", form, headers={"Origin": "http://testserver"}).status_code == 302


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """What the console would show, at its most talkative."""
    lines, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(lines), root.level
    formatters = [known.formatter for known in root.handlers if isinstance(known.formatter, structlog.stdlib.ProcessorFormatter)]
    handler.setFormatter(formatters[0])
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(level)
    root.removeHandler(handler)


def test_no_secret_reaches_a_log_or_another_page(client_for, alice, workspace, log_lines):
    """Tokens in addresses, keys in headers and passwords in forms, on good and on failing requests."""
    _, key = api_key_create(workspace=workspace, name="CI", role=Role.VIEWER, by=alice)
    _, invitation = invitation_create(workspace=workspace, email="new@example.com", role=Role.VIEWER, by=alice)
    share = share_create(report=report_create(experiment=make_finished_experiment(workspace, num_validation=6), by=alice), by=alice)[1]
    link = sign_in_url(alice)
    token = link.partition("token=")[2]
    password = "canary-password-123"

    for _ in range(2):  # the second time the tokens are used up
        Client().get(link)
        Client().post("/sign-in/", {"token": token})
        Client().get(f"/invitations/{invitation}/")
        Client().post(f"/invitations/{invitation}/", {"name": "New", "password": password})
        Client().get(f"/s/{share}/")
        Client().get(f"/s/{share}x/")
        Client().get("/api/v1/datasets", headers={"Authorization": f"Bearer {key}"})
        Client().get("/api/v1/datasets", headers={"Authorization": f"Bearer {key}x"})
        Client().post("/accounts/login/", {"login": "alice@example.com", "password": password})
    logs = log_lines.getvalue()
    assert "/invitations/[hidden]" in logs, "the log is there, and says what was asked for"

    for name, secret in {"key": key, "invitation": invitation, "share": share, "sign-in": token, "password": password}.items():
        assert secret not in logs, name
        assert secret[:20] not in logs, name
    assert key not in client_for(alice).get("/w/acme/settings/keys/").content.decode()


def test_failed_jobs_show_no_traceback_to_members(client_for, bob, workspace):
    Job.objects.create(workspace=workspace, kind="inspect", queue="interactive", state="failed", error="No.", error_detail="canary-trace")

    assert "canary-trace" not in client_for(bob).get("/w/acme/").content.decode()


def test_cookies_are_out_of_scripts_reach_and_stay_on_this_site(client_for, alice):
    cookie = client_for(alice).cookies[django_settings.SESSION_COOKIE_NAME]

    assert django_settings.SESSION_COOKIE_HTTPONLY
    assert cookie["samesite"] == "Lax" or django_settings.SESSION_COOKIE_SAMESITE == "Lax"


@pytest.mark.slow
def test_deployment_check_is_clean_behind_tls(tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "HTTPS": "true", "PROMPTLAB_HOME": str(tmp_path), "ALLOWED_HOSTS": "lab.example.com"}
    ended = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("secret", ["short", "x" * 39])
def test_weak_secret_key_stops_the_start(tmp_path, secret):
    environment = {"PATH": "/usr/bin:/bin", "SECRET_KEY": secret, "PROMPTLAB_HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode != 0
    assert "SECRET_KEY" in ended.stderr
    assert secret not in ended.stderr

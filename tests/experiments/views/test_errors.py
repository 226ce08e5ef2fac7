import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.db import OperationalError
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path

from experiments.views import errors

TEMPLATES = settings.BASE_DIR / "templates"


def broken(request):
    raise ValueError("not for people")


def locked(request):
    raise OperationalError("database is locked")


def large(request):
    return errors.too_large(request)


def many(request):
    return errors.too_many(request, seconds=90)


urlpatterns = [path("broken/", broken), path("locked/", locked), path("large/", large), path("many/", many)]
handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.page_not_found
handler500 = errors.server_error


@pytest.fixture
def member(client_for, alice):
    client = client_for(alice)
    client.raise_request_exception = False
    with override_settings(ROOT_URLCONF=__name__):
        yield client


@pytest.mark.parametrize(
    ("address", "status", "title"),
    [
        ("/broken/", 500, "Something broke on our side"),
        ("/locked/", 503, "The database is not answering"),
        ("/large/", 413, "This is too large"),
        ("/many/", 429, "Too many requests"),
        ("/nothing/", 404, "There is nothing at this address"),
    ],
)
def test_each_error_says_what_happened_whether_work_is_safe_and_what_to_do(member, address, status, title):
    response = member.get(address)
    page = response.content.decode()

    assert response.status_code == status
    assert title in page
    assert "Your work:" in page
    assert "What to do:" in page
    assert "Reference" in page
    assert "not for people" not in page


def test_the_reference_on_the_page_stands_in_the_log(member, caplog):
    with caplog.at_level("ERROR"):
        page = member.get("/broken/").content.decode()

    reference = page.split("Reference <code>")[1].split("</code>")[0]
    assert len(reference) == 36
    assert any(reference in str(record.msg) for record in caplog.records)


def test_htmx_gets_the_sentence_alone(member):
    response = member.get("/broken/", headers={"HX-Request": "true"})

    assert response.headers["Content-Type"].startswith("text/plain")
    assert "<" not in response.content.decode()


def test_waiting_times_are_given_to_programs(member):
    assert member.get("/many/").headers["Retry-After"] == "90"
    assert member.get("/locked/").headers["Retry-After"] == "30"


def test_the_500_page_needs_no_database():
    request = RequestFactory().get("/")  # no user, no session, and this test has no database

    response = errors.server_error(request)

    assert "Something broke on our side" in response.content.decode()


@pytest.mark.parametrize("template", [path for path in sorted(TEMPLATES.rglob("*.html")) if "<html" in path.read_text()], ids=str)
def test_every_whole_page_names_an_icon_that_is_there(template):
    page = template.read_text()

    # Without it a browser asks for /favicon.ico, which is nowhere.
    assert '<link rel="icon" href="{% static \'mark.svg\' %}" type="image/svg+xml">' in page
    assert finders.find("mark.svg")


def test_a_role_that_is_too_low_is_named(client_for, bob, workspace):
    page = client_for(bob).get("/w/acme/data/new/").content.decode()

    assert "Domain expert" in page


def test_a_stale_form_is_told_apart_from_a_missing_role():
    response = errors.csrf_failure(RequestFactory().post("/"))

    assert response.status_code == 403
    assert "This form is too old" in response.content.decode()


def test_error_pages_keep_the_strict_policy(client_for, alice):
    response = client_for(alice).get("/nothing-here/")

    assert isinstance(response, HttpResponse)
    assert "unsafe-inline" not in response.headers["Content-Security-Policy"]
    assert "<style" not in response.content.decode()
    assert 'style="' not in response.content.decode()

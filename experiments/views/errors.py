"""Designed answers for 400, 403, 404, 413, 429, 500 and 503: what happened, whether work is safe, what to do.

Every answer carries the request id that stands in the log. The page needs no database, session or context processor,
for any of these may be what failed. A script gets the sentence alone, which the page then shows.
"""

import sys
from dataclasses import dataclass

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from experiments.access import MakesNoWorkspace, RoleTooLow


@dataclass(frozen=True)
class ErrorPage:
    """What happened, whether work is safe, and what to do; a sentence or two each."""

    status: int
    title: str
    happened: str
    safe: str
    remedy: str


BAD_REQUEST = ErrorPage(
    400,
    "The request could not be read",
    "The browser sent something that this page does not understand.",
    "Nothing was changed.",
    "Go back, load the page again and repeat the step.",
)
FORBIDDEN = ErrorPage(
    403,
    "Your role does not allow this",
    "You are a member of this workspace, but this step needs another role.",
    "Nothing was changed.",
    "Ask an owner of the workspace to change your role.",
)
STALE_FORM = ErrorPage(
    403,
    "This form is too old",
    "The page was opened before you signed in or out, or the browser blocks cookies, so the form could not be trusted.",
    "Nothing was changed. What you typed is still in the form when you go back.",
    "Go back, copy what you typed, load the page again and send it once more.",
)
NOT_FOUND = ErrorPage(
    404,
    "There is nothing at this address",
    "The page does not exist, or it belongs to a workspace that you are not a member of.",
    "Nothing was changed.",
    "Check the address, or start from the overview.",
)
TOO_LARGE = ErrorPage(
    413,
    "This is too large",
    "What was sent is larger than the server takes at once.",
    "Nothing of it was stored.",
    "Send less at a time: split a file into several, or shorten the text.",
)
TOO_MANY = ErrorPage(
    429,
    "Too many requests",
    "There were more requests from here in a short time than the server takes.",
    "Nothing was changed by this one; everything saved before is safe.",
    "Wait a minute and try again.",
)
SERVER_ERROR = ErrorPage(
    500,
    "Something broke on our side",
    "The server met an error that it was not prepared for. The details are in its log.",
    "Everything saved before is safe. This last step was undone as a whole, and running work goes on.",
    "Try again. If it happens again, send the reference below to whoever runs this server.",
)
UNAVAILABLE = ErrorPage(
    503,
    "The database is not answering",
    "The server runs, but its database cannot be reached or is too busy.",
    "Everything saved before is safe; this last step was not stored.",
    "Wait half a minute and try again.",
)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return error_answer(request, TOO_LARGE if isinstance(exception, RequestDataTooBig) else BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if isinstance(exception, MakesNoWorkspace):
        return error_answer(request, FORBIDDEN, happened=exception.happened, remedy=str(exception))
    return error_answer(request, FORBIDDEN, remedy=str(exception) if isinstance(exception, RoleTooLow) else "")


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return error_answer(request, NOT_FOUND)


def too_large(request: HttpRequest, *, happened: str = "", remedy: str = "") -> HttpResponse:
    """413, for views that refuse a body themselves."""
    return error_answer(request, TOO_LARGE, happened=happened, remedy=remedy)


def too_many(request: HttpRequest, *, seconds: int = 60) -> HttpResponse:
    """429, for views that limit how often they are asked."""
    response = error_answer(request, TOO_MANY)
    response.headers["Retry-After"] = str(seconds)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        response = error_answer(request, UNAVAILABLE)
        response.headers["Retry-After"] = "30"
        return response
    return error_answer(request, SERVER_ERROR)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_answer(request, STALE_FORM)


def error_answer(request: HttpRequest, page: ErrorPage, *, happened: str = "", remedy: str = "") -> HttpResponse:
    """The page, or for a script its sentence; `happened` and `remedy` replace the general ones where more is known."""
    reference = request_reference()
    happened, remedy = happened or page.happened, remedy or page.remedy
    if request.headers.get("HX-Request") or request.headers.get("X-Requested-With") == "XMLHttpRequest":
        sentence = f"{page.title}. {happened} {remedy}" + (f" Reference: {reference}" if reference else "")
        return HttpResponse(sentence, status=page.status, content_type="text/plain; charset=utf-8")
    context = {"page": page, "happened": happened, "remedy": remedy, "reference": reference}
    try:
        body = render_to_string("error.html", context)
    except Exception:  # noqa: BLE001 - a template that fails must not hide the first error
        return HttpResponse(f"{page.title}. {happened} {remedy} {reference}", status=page.status, content_type="text/plain; charset=utf-8")
    return HttpResponse(body, status=page.status)


def request_reference() -> str:
    """The id under which this request stands in the log; empty outside a request. A client may have sent it, so it is cut."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]

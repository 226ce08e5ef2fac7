"""The public page behind a link: one frozen report, nothing else.

Uses no session, sets no cookie, ignores who is signed in, and reads only the link's row. Whatever is wrong with a link, the answer is
the same 404; the token never reaches a log.
"""

import re
import secrets
from typing import TypeVar

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt

from experiments.models import Share
from experiments.services.reports import share_find, share_note_opened
from experiments.throttle import client_address, may_try, seconds_left
from experiments.views.reports import body_of, csv_response

MISSES = 20
WINDOW_SECONDS = 60
CSV = "table.csv"
UNFURLERS = re.compile(r"bot|crawl|spider|preview|unfurl|facebookexternalhit|slack|whatsapp|telegram|discord|skype|embed", re.IGNORECASE)


@csrf_exempt
@login_not_required
def share_open(request: HttpRequest, token: str) -> HttpResponseBase:
    """The report as a page."""
    share = share_find(token) if request.method in ("GET", "HEAD") else None
    if share is None:
        return _missing(request)
    _note(request, share)
    nonce = secrets.token_urlsafe(16)
    page = render_to_string("share_open.html", {**body_of(share.report.payload), "nonce": nonce, "csv": CSV})
    return sealed(HttpResponse(page), nonce)


@csrf_exempt
@login_not_required
def share_csv(request: HttpRequest, token: str) -> HttpResponseBase:
    """The same report's table as a file."""
    share = share_find(token) if request.method in ("GET", "HEAD") else None
    if share is None:
        return _missing(request)
    return sealed(csv_response(share.report.payload, "report.csv"), "")


@csrf_exempt
@login_not_required
def share_miss(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """Any other address below /s/: not told apart from a link that has ended."""
    share_find(rest)
    return _missing(request)


def _missing(request: HttpRequest) -> HttpResponse:
    """The one answer to everything wrong; after too many in a minute from one address, 429."""
    nonce = secrets.token_urlsafe(16)
    if may_try(client_address(request), action="share-miss", limit=MISSES, seconds=WINDOW_SECONDS):
        return sealed(HttpResponse(render_to_string("share_missing.html", {"nonce": nonce}), status=404), nonce)
    page = render_to_string("share_missing.html", {"nonce": nonce, "too_many": True})
    response = sealed(HttpResponse(page, status=429), nonce)
    response["Retry-After"] = str(seconds_left(WINDOW_SECONDS))
    return response


def _note(request: HttpRequest, share: Share) -> None:
    """Count people, not the programs that make link previews."""
    if not UNFURLERS.search(request.headers.get("User-Agent", "")) and request.method == "GET":
        share_note_opened(share=share)


Response = TypeVar("Response", bound=HttpResponseBase)


def sealed(response: Response, nonce: str) -> Response:
    """The headers of a shared page: kept by nobody, found by nobody, able to load its own files only."""
    own = f"'nonce-{nonce}'" if nonce else "'none'"
    response["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {own}; style-src {own}; img-src 'self'; font-src 'self'; connect-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response["Cache-Control"] = "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Opener-Policy"] = "same-origin"
    # Django logs the path of every 4xx answer once; a path here holds a token.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response

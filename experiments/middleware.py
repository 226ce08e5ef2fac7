"""What every answer carries, and what is written about every request. Knows no page."""

import hashlib
from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers
from django_structlog.middlewares import RequestMiddleware

SHARES = "/s/"


class RequestLogMiddleware(RequestMiddleware):  # type: ignore[misc]
    """One log line a request. The path of a shared link holds a secret, so six characters of its hash stand in its place."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        if not request.path.startswith(SHARES):
            return f"{request.method} {request.get_full_path()}"
        token = request.path.removeprefix(SHARES).split("/")[0]
        return f"{request.method} {SHARES}#{hashlib.sha256(token.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"

    @staticmethod
    def bind_user_id(request: HttpRequest) -> None:
        # A shared page ignores who is signed in; naming the visitor here would load the session.
        if not request.path.startswith(SHARES):
            RequestMiddleware.bind_user_id(request)


class SignInMiddleware(LoginRequiredMiddleware):
    """Every view asks for a signed-in person unless it says otherwise; one that does not ask does not load the session either."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: tuple[Any, ...], view_kwargs: dict[str, Any]
    ) -> Any:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


class NoStoreMiddleware:
    """Pages show private data, so no cache on the way may keep them; a view that sets its own policy keeps it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response

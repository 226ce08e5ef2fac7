"""What the URLconf mounts: the operations, open to signed-out callers (keys are their only door), with JSON for every refusal."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from experiments.api import api
from experiments.api.errors import NO_ROUTE, error_answer
from experiments.api.reference import operations_of

View = Callable[..., Any]


@login_not_required
@require_safe
def api_reference(request: HttpRequest) -> HttpResponse:
    """The operations for a person to read, from the same document that programs read."""
    return render(request, "api_reference.html", {"groups": operations_of(api.get_openapi_schema())})


@login_not_required
@csrf_exempt
def api_nothing_here(request: HttpRequest, rest: str) -> HttpResponse:
    return error_answer(404, NO_ROUTE)


def api_routes() -> tuple[list[URLPattern], str, str]:
    """Every operation, the OpenAPI document, the reference page at the root, and an answer for all other addresses."""
    routes, app_name, namespace = api.urls
    known = [route for route in routes if isinstance(route, URLPattern) and route.name != "api-root"]
    opened = [path(str(route.pattern), _opened(route.callback), name=route.name) for route in known]
    opened.append(path("", api_reference, name="api-root"))
    opened.append(re_path(r"^(?P<rest>.*)$", api_nothing_here, name="nothing-here"))
    return opened, app_name, namespace


def _opened(view: View) -> View:
    @login_not_required
    @csrf_exempt  # no cookie opens the API, so no other site can misuse one
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer: HttpResponseBase = view(request, *args, **kwargs)
        return _wrong_verb(request, answer) if answer.status_code == 405 else answer

    return answered


def _wrong_verb(request: HttpRequest, refused: HttpResponseBase) -> HttpResponse:
    answer = error_answer(405, f"{request.method} does not work here; use {refused['Allow']}.")
    answer["Allow"] = refused["Allow"]
    return answer

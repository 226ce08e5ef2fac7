"""The one shape of every error: {"error": {"code", "message", "fields"[, "reference"]}}. Knows no noun; never repeats what was sent."""

from collections.abc import Callable
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, Throttled
from ninja.errors import ValidationError as SchemaError

from experiments.errors import UserError
from experiments.uploads import upload_refused

log = structlog.get_logger(__name__)

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    422: "invalid",
    429: "too_many_requests",
    500: "server_error",
}
NO_KEY = "Send a workspace key that has not been revoked in the header “Authorization: Bearer plk_…”. Owners make keys under Settings."
TOO_LARGE = "The body is larger than the server takes at once, and nothing of it was stored. Send files as multipart, at most 100 MB."
NO_ROUTE = "There is nothing at this address. The operations are listed at /api/v1/."


# How the OpenAPI document describes it.
ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "fields"],
            "properties": {
                "code": {"type": "string", "enum": list(CODES.values())},
                "message": {"type": "string", "description": "One sentence for a person."},
                "fields": {"type": "object", "additionalProperties": {"type": "string"}, "description": "What is wrong with which field."},
                "reference": {"type": "string", "description": "Finds the failure in the server's log."},
            },
        }
    },
}


def error_answer(status: int, message: str, *, fields: dict[str, str] | None = None, reference: str | None = None) -> JsonResponse:
    """The JSON answer for a failed call. `reference` finds the failure in the log."""
    error: dict[str, Any] = {"code": CODES.get(status, "error"), "message": message, "fields": fields or {}}
    if reference:
        error["reference"] = reference
    return JsonResponse({"error": error}, status=status)


def handlers_attach(api: NinjaAPI) -> None:
    """Teach the API to answer every exception that services, access and parsing raise."""
    for kind, handler in HANDLERS:
        api.add_exception_handler(kind, handler)


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("api_call_failed", exc_info=error)
    reference = structlog.contextvars.get_contextvars().get("request_id")
    message = "Something broke on our side; nothing half-done was stored. Try again, or give the operator the reference."
    return error_answer(500, message, reference=reference)


def _no_key(request: HttpRequest, error: Exception) -> HttpResponse:
    answer = error_answer(401, NO_KEY)
    answer["WWW-Authenticate"] = 'Bearer realm="PromptLab"'
    return answer


def _throttled(request: HttpRequest, error: Throttled) -> HttpResponse:
    wait = int(error.wait or 60)
    answer = error_answer(429, f"Too many calls. Wait {wait} seconds and try again; nothing was changed.")
    answer["Retry-After"] = str(wait)
    return answer


def _schema_mistakes(request: HttpRequest, error: SchemaError) -> HttpResponse:
    too_large = upload_refused(request) if request.content_type == "multipart/form-data" else None
    if too_large:  # fields behind the file never arrived, which is not the caller's mistake
        return error_answer(413, too_large)
    fields = {_field_name(mistake["loc"]): str(mistake["msg"]) for mistake in error.errors if "loc" in mistake}
    return error_answer(422, f"The request does not fit the operation; look at: {', '.join(fields) or 'the body'}.", fields=fields)


def _model_mistakes(request: HttpRequest, error: ValidationError) -> HttpResponse:
    named = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    fields = {name: " ".join(messages) for name, messages in named.items() if name not in ("", "__all__")}
    return error_answer(422, " ".join(error.messages), fields=fields)


def _field_name(loc: tuple[Any, ...]) -> str:
    """("body", "payload", "seeds", 0) is "seeds.0" to the caller: neither transport nor parameter name is theirs to know."""
    parts = [str(part) for part in loc[1:] if part != "payload"]
    return ".".join(parts) or str(loc[0])


def _sentence(error: HttpError) -> str:
    if "parse" in error.message.lower():
        return "The body is not valid JSON."
    return error.message


HANDLERS: list[tuple[type[Exception], Callable[[HttpRequest, Any], HttpResponse]]] = [
    (Exception, _unexpected),
    (AuthenticationError, _no_key),
    (Http404, lambda request, error: error_answer(404, str(error) or NO_ROUTE)),
    (HttpError, lambda request, error: error_answer(error.status_code, _sentence(error))),
    (MultiPartParserError, lambda request, error: error_answer(400, "The multipart body is malformed.")),
    (PermissionDenied, lambda request, error: error_answer(403, str(error))),
    (RequestDataTooBig, lambda request, error: error_answer(413, TOO_LARGE)),
    (SchemaError, _schema_mistakes),
    (SuspiciousOperation, lambda request, error: error_answer(400, "The request is malformed.")),
    (Throttled, _throttled),
    (UserError, lambda request, error: error_answer(getattr(error, "status", 422), str(error))),
    (ValidationError, _model_mistakes),
]

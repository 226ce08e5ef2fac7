"""Who is looking, what was sent, and whether the address names the right workspace. The sign-in middleware runs before every view."""

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict

from experiments.models import User, Workspace


def viewer(request: HttpRequest) -> User:
    """The signed-in person."""
    assert isinstance(request.user, User)
    return request.user


def posted(request: HttpRequest) -> QueryDict | None:
    """What a form was sent with; None when the page is only looked at."""
    return request.POST if request.method == "POST" else None


def posted_files(request: HttpRequest) -> "MultiValueDict[str, UploadedFile[Any]] | None":
    """The files that a form was sent with; None when the page is only looked at."""
    return request.FILES if request.method == "POST" else None


def require_here(workspace: Workspace, slug: str) -> None:
    """Raises Http404 when the address names another workspace than the noun's: the page would show the wrong frame."""
    if workspace.slug != slug:
        raise Http404("There is no such page in this workspace.")

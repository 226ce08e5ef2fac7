"""Who is looking, and whether the address tells the truth about the workspace. The sign-in middleware runs before every view."""

from django.http import Http404, HttpRequest

from experiments.models import User, Workspace


def viewer(request: HttpRequest) -> User:
    """The signed-in person."""
    assert isinstance(request.user, User)
    return request.user


def require_here(workspace: Workspace, slug: str) -> None:
    """Raises Http404 when the address names another workspace than the noun's: the page would show the wrong frame."""
    if workspace.slug != slug:
        raise Http404("There is no such page in this workspace.")

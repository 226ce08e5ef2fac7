"""What every page's template may use besides its own context: the workspace in the address and the viewer's role in it."""

from typing import Any

from django.http import HttpRequest

from experiments.models import Membership, Role


def workspace(request: HttpRequest) -> dict[str, Any]:
    """`workspace`, `role` and `may_write`/`may_engineer`/`may_own`; empty outside a workspace. One query."""
    match = request.resolver_match
    slug = match.kwargs.get("slug") if match else None
    if not slug or not request.user.is_authenticated:
        return {}
    membership = Membership.objects.select_related("workspace").filter(user=request.user, workspace__slug=slug).first()
    if membership is None:
        return {}
    role = Role(membership.role)
    return {
        "workspace": membership.workspace,
        "role": role,
        "may_write": role.includes(Role.DOMAIN_EXPERT),
        "may_engineer": role.includes(Role.ML_ENGINEER),
        "may_own": role.includes(Role.OWNER),
    }

"""What the frame of every page needs: icons, the navigation, the person's workspaces, the version. One query a page."""

import tomllib
from functools import lru_cache
from typing import Any

from django import template
from django.conf import settings
from django.db.models import F
from django.template import Context
from django.urls import NoReverseMatch, reverse

from experiments.access import makes_workspaces
from experiments.models import Workspace

register = template.Library()

NAVIGATION = (
    ("Overview", "workspace-overview"),
    ("Data", "dataset-list"),
    ("Prompts", "prompt-list"),
    ("Comparisons", "comparison-list"),
    ("Library", "library"),
    ("Settings", "workspace-settings"),
)
# Folders whose pages belong to a part although their addresses do not lie below it.
BESIDE = {"comparison-list": ("runs/", "reports/")}


@register.inclusion_tag("_icon.html")
def icon(name: str) -> dict[str, str]:
    """A small drawing beside a word; hidden from screen readers, for the word says it all."""
    return {"name": name}


@register.inclusion_tag("_navigation.html", takes_context=True)
def navigation(context: Context) -> dict[str, Any]:
    """The parts of the workspace in the address, the current one marked."""
    workspace = context.get("workspace")
    path = context["request"].path
    links = [_link(label, name, workspace.slug, path) for label, name in NAVIGATION] if workspace else []
    return {"links": [link for link in links if link]}


def _link(label: str, name: str, slug: str, path: str) -> dict[str, Any] | None:
    try:
        address = reverse(name, args=[slug])
    except NoReverseMatch:
        return None
    home = reverse("workspace-overview", args=[slug])
    held = (address, *(home + folder for folder in BESIDE.get(name, ())))
    return {"label": label, "address": address, "current": path == address or (name != "workspace-overview" and path.startswith(held))}


@register.inclusion_tag("_workspace_menu.html", takes_context=True)
def workspace_menu(context: Context) -> dict[str, Any]:
    """The workspaces that the person belongs to, by name, and the way to another one for who may make it. One query."""
    user = context["request"].user
    own = list(Workspace.objects.filter(memberships__user=user).annotate(held=F("memberships__role"))) if user.is_authenticated else []
    may_make = user.is_authenticated and makes_workspaces(user, [each.held for each in own])
    return {"own": own, "workspace": context.get("workspace"), "role": context.get("role"), "may_make": may_make}


@register.simple_tag
@lru_cache(maxsize=1)
def version() -> str:
    """PromptLab's version, read from pyproject.toml; empty where that file is not shipped."""
    try:
        project: str = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]["version"]
    except OSError:
        return ""
    return project

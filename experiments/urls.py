"""One path a view, named <noun>-<verb>. Workspace pages live under /w/<slug>/."""

from django.urls import path
from django.urls.resolvers import URLPattern, URLResolver

from experiments.views import accounts, health, home

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("healthz", health.health, name="health"),
    path("sign-in/", accounts.sign_in, name="sign-in"),
    path("invitations/<str:token>/", accounts.invitation_accept, name="invitation-accept"),
    path("w/<slug:slug>/", home.workspace_overview, name="workspace-overview"),
    path("w/<slug:slug>/activity/", home.workspace_activity, name="workspace-activity"),
]

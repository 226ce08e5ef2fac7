"""One path a view, named <noun>-<verb>. Workspace pages live under /w/<slug>/."""

from django.urls import path
from django.urls.resolvers import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []

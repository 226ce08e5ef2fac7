"""The Django project: settings, URLs, Celery app and WSGI entry. Wiring only."""

from promptlab.celery import app as celery_app

__all__ = ["celery_app"]

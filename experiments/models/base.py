"""Field shapes that every noun shares. Knows no noun."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models


class Noun(models.Model):
    """A row that has a page or an API address: a UUID that tells nothing, and the moment it was made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True


def author() -> "models.ForeignKey[Any, Any]":
    """Who made the row; kept when the person leaves, so history stays readable."""
    return models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

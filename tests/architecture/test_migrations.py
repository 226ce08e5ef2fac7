"""The models and the migrations say the same."""

from io import StringIO

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_no_migration_is_missing(settings):
    settings.MIGRATION_MODULES = {}  # `make test` makes its database without them
    call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())

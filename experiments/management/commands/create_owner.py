"""`manage.py create_owner --email … --workspace …`: the first account of an instance. Its password goes to a file, never to the screen."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from experiments.errors import UserError
from experiments.models import User
from experiments.owner_password import password_keep, password_make
from experiments.services.accounts import owner_create, sign_in_url


class Command(BaseCommand):
    help = "Make a person who owns a workspace. Running it again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--workspace", required=True, help="The workspace's name.")

    def handle(self, *args: Any, email: str, workspace: str, **options: Any) -> None:
        new = not User.objects.filter(email__iexact=email).exists()
        password = password_make()
        try:
            user, home = owner_create(email=email, password=password, workspace_name=workspace)
        except UserError as error:
            raise CommandError(str(error)) from error
        if new:
            self.stdout.write(f"Password of {user.email}: {password_keep(settings.HOME, user, password)}")
        self.stdout.write(f"Workspace: /w/{home.slug}/")
        self.stdout.write(f"Sign in within 15 minutes: {sign_in_url(user)}")

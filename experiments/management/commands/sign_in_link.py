"""`manage.py sign_in_link EMAIL`: a one-time link for somebody who cannot sign in otherwise."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from experiments.models import User
from experiments.services.accounts import sign_in_url


class Command(BaseCommand):
    help = "Print the path of a sign-in link that works once, within 15 minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")

    def handle(self, *args: Any, email: str, **options: Any) -> None:
        user = User.objects.filter(email__iexact=email, is_active=True).first()
        if user is None:
            raise CommandError(
                f"There is no active account with the email {email}. Make one with: manage.py create_owner --email {email} …"
            )
        self.stdout.write(sign_in_url(user))

"""A first owner's random password, kept where only the operator's account can read it. It is never printed."""

import os
import secrets
from pathlib import Path

from experiments.models import User


def password_make() -> str:
    """A password with 144 bits of chance."""
    return secrets.token_urlsafe(18)


def password_keep(home: Path, user: User, password: str) -> Path:
    """Write email and password to a file of mode 0600 below `home`; returns its path."""
    path = home / f"password-{user.pk}.txt"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(f"{user.email}\n{password}\n")
    return path

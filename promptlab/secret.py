"""The instance's secret key: from the environment, or made once and kept beside the other state. Standard library only."""

import os
import secrets
from pathlib import Path

MIN_LENGTH = 40


class WeakSecretKey(SystemExit):
    """The configured key is short enough to guess."""


def read_secret_key(configured: str, home: Path) -> str:
    """Return the configured key, or the one in `home/secret_key`, making it (mode 0600) at first start.

    Raises:
        WeakSecretKey: the configured key has fewer than 40 characters.
    """
    if configured:
        if len(configured) < MIN_LENGTH:
            raise WeakSecretKey(
                f"SECRET_KEY has {len(configured)} characters; at least {MIN_LENGTH} are needed. "
                "Unset it to have one made, or generate a longer one."
            )
        return configured
    return _kept_key(home / "secret_key")


def _kept_key(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(64))
        file.flush()
        os.fsync(file.fileno())
    return path.read_text().strip()

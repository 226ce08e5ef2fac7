"""Secrets that must be used again, such as an endpoint's key: sealed at rest with a key made from the instance's SECRET_KEY.

A sealed text opens only for the purpose it was sealed for, so that a row copied to another endpoint opens nothing.
"""

import base64
import json

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class CannotOpen(Exception):
    """The seal is of another instance, another purpose, or damaged."""


def seal(secret: str, *, purpose: str) -> str:
    """The secret as text that only this instance can open, and only for the same purpose."""
    return _box().encrypt(json.dumps([purpose, secret]).encode()).decode()


def unseal(sealed: str, *, purpose: str) -> str:
    """The secret again.

    Raises:
        CannotOpen: the instance's secret key has changed, or the purpose is another.
    """
    try:
        sealed_for, secret = json.loads(_box().decrypt(sealed.encode()))
    except (InvalidToken, ValueError) as error:
        raise CannotOpen from error
    if sealed_for != purpose:
        raise CannotOpen
    return str(secret)


def _box() -> Fernet:
    made = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"promptlab sealed secrets").derive(settings.SECRET_KEY.encode())
    return Fernet(base64.urlsafe_b64encode(made))

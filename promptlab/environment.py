"""Environment variables as settings read them: what cannot be read ends the process with a sentence, not with a traceback."""

from collections.abc import Container
from typing import Any

import environ

_DATABASES = ("postgres", "postgresql", "sqlite")
_BROKERS = ("redis", "rediss")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_WANTED = {int: "a whole number", float: "a number", bool: "true or false"}
_REMEDY = "Correct it in the environment or in .env."


class BadSetting(SystemExit):
    """A variable holds what cannot be read. The text never repeats an address, for it may hold a password."""


class Environment(environ.Env):  # type: ignore[misc] # the package has no types
    """`environ.Env` whose readings raise BadSetting."""

    BOOLEAN_FALSE_STRINGS = ("false", "off", "n", "no", "0", "")

    def get_value(self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, parse_default: bool = False) -> Any:
        said = str(self.ENVIRON.get(var, "")).strip()
        if cast is bool and said.lower() not in (*self.BOOLEAN_TRUE_STRINGS, *self.BOOLEAN_FALSE_STRINGS):
            raise BadSetting(f"{var} must be {_WANTED[bool]}, and is “{said}”. {_REMEDY}")
        try:
            return super().get_value(var, cast, default, parse_default)
        except ValueError as error:
            raise BadSetting(f"{var} must be {_WANTED[cast]}, and is “{said}”. {_REMEDY}") from error

    def database(self, var: str, default: str) -> dict[str, Any]:
        """Django's description of a database, from an address."""
        problem = BadSetting(f"{var} must be of the form postgres://user:password@host:5432/name or sqlite:///file. {_REMEDY}")
        address = self._address(var, default, _DATABASES, problem)
        try:
            return dict(self.db_url_config(address))
        except ValueError as error:
            raise problem from error

    def broker(self, var: str) -> str:
        """The address of a Redis, or nothing."""
        return self._address(var, "", _BROKERS, BadSetting(f"{var} must be of the form redis://host:6379/0, or left out. {_REMEDY}"))

    def level(self, var: str, default: str) -> str:
        """The name of a logging level."""
        said = str(self.str(var, default=default)).upper()
        if said not in _LEVELS:
            raise BadSetting(f"{var} must be one of {', '.join(_LEVELS)}, and is “{said}”. {_REMEDY}")
        return said

    def _address(self, var: str, default: str, schemes: Container[str], problem: BadSetting) -> str:
        address = str(self.str(var, default=default))
        scheme, _, rest = address.partition("://")
        if address and (scheme not in schemes or not rest):
            raise problem
        return address

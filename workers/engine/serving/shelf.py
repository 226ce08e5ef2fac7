"""Keeps what was used last, up to a number of bytes. Knows nothing of what it keeps."""

from collections import OrderedDict
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
DEFAULT_BYTES = 1 << 30


class Shelf(Generic[Thing]):
    """Things by name; the one that was not used for the longest time makes room for a new one.

    Args:
        max_bytes: most that lies here at any time.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._things: OrderedDict[str, tuple[Thing, int]] = OrderedDict()

    def get(self, name: str) -> Thing | None:
        """What lies here under a name, now the last used; None when it was never here or had to go."""
        if name not in self._things:
            return None
        self._things.move_to_end(name)
        return self._things[name][0]

    def put(self, name: str, thing: Thing, num_bytes: int) -> None:
        """Lay a thing down as the last used, in place of one of the same name.

        Args:
            num_bytes: what it takes, at most `max_bytes`.
        """
        self.drop(name)
        while self._things and self.num_bytes + num_bytes > self.max_bytes:
            self.drop(next(iter(self._things)))
        self._things[name] = (thing, num_bytes)
        self.num_bytes += num_bytes

    def drop(self, name: str) -> None:
        """Take a thing away, if it is here."""
        if name in self._things:
            self.num_bytes -= self._things.pop(name)[1]

    def names(self) -> tuple[str, ...]:
        """What lies here, the longest unused first."""
        return tuple(self._things)

"""Hints as files for an instance without Redis: kombu's filesystem transport, made safe against half-written files.

Kombu opens a message under its final name and fills it afterwards; a worker that looks in between reads nothing and ends.
"""

import os
import uuid
from pathlib import Path
from queue import Empty
from time import monotonic_ns
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

SCHEME = "hints"
TRANSPORT_ALIASES[SCHEME] = "promptlab.hints:Transport"


class Channel(filesystem.Channel):  # type: ignore[misc]
    """A folder of messages, each of which appears whole."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        name = f"{monotonic_ns():020d}_{uuid.uuid4()}.{queue}.msg"  # taken in the order of names
        folder = Path(self.data_folder_out)
        partial = folder / f".{name}.partial"
        partial.write_text(dumps(payload), encoding="utf-8")
        os.replace(partial, folder / name)

    def _get(self, queue: str) -> Any:
        try:
            return super()._get(queue)
        except ValueError:  # not JSON, and taken away already: one hint less, which the sweep sends again
            raise Empty from None


class Transport(filesystem.Transport):  # type: ignore[misc]
    Channel = Channel

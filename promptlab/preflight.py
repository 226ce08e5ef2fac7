"""Checks the machine before an environment is made. Runs on the system's Python: standard library only, any version."""

from __future__ import annotations

import importlib.util
import sys

NEEDED = (3, 11)


def problem() -> str | None:
    """What keeps PromptLab from being installed here, with the line that mends it; None when nothing does."""
    if sys.version_info < NEEDED:
        have = ".".join(str(part) for part in sys.version_info[:3])
        mend = "sudo apt-get install python3.11 python3.11-venv && make run PYTHON=python3.11"
        return f"PromptLab needs Python 3.11 or newer; this is Python {have}.\n  {mend}"
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        return f"This Python lacks {' and '.join(missing)}.\n  sudo apt-get install {package}"
    return None


if __name__ == "__main__":
    found = problem()
    if found:
        sys.exit(found)

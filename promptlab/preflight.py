"""Checks the machine before an environment is made. Runs on the system's Python: standard library only, any version."""

import importlib.util
import sys

NEEDED = (3, 11)


def problem():
    """What keeps PromptLab from being installed here, with the line that mends it; None when nothing does."""
    if sys.version_info < NEEDED:
        have = ".".join(str(part) for part in sys.version_info[:3])
        return (
            "PromptLab needs Python 3.11 or newer; this is Python %s.\n"
            "  sudo apt-get install python3.11 python3.11-venv && make run PYTHON=python3.11" % have
        )
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = "%d.%d" % sys.version_info[:2]
        return "This Python lacks %s.\n  sudo apt-get install python%s-venv" % (" and ".join(missing), version)
    return None


if __name__ == "__main__":
    found = problem()
    if found:
        sys.exit(found)

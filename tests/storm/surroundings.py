"""What every process of a storm runs with: a state directory of its own, short leases, the storm's settings. Standard library only."""

from pathlib import Path


def surroundings(home: Path) -> dict[str, str]:
    """Environment of a storm over files and SQLite; DATABASE_URL and REDIS_URL beside it take it to servers."""
    return {
        "PROMPTLAB_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "tests.storm.settings",
        "JOB_LEASE_SECONDS": "2",
        "JOB_HEARTBEAT_SECONDS": "0.5",
        "STORM_RUN_SECONDS": "1.0",
        # PYTHON… names reach the engine host, which is how one that was left behind is known.
        "PYTHON_STORM_HOME": str(home),
    }

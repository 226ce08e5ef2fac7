"""Production's settings with a scripted engine host and no pages, for processes that a storm kills. Leases come from the environment."""

import sys
from pathlib import Path

from promptlab.settings import *  # noqa: F403
from promptlab.settings import HOME, env

FAKE_HOST = Path(__file__).parents[1] / "workers" / "fake_host.py"
ENGINE_HOST_COMMAND = [sys.executable, str(FAKE_HOST), "work", env.str("STORM_RUN_SECONDS", default="1.0"), str(HOME)]
LATENCY_PATIENCE_SECONDS = 0.0
ROOT_URLCONF = "tests.storm.urls"
JOB_MAX_CRASHES_WITHOUT_PROGRESS = 1000  # random kills are nobody's fault here; quarantine has tests of its own
JOB_MAX_CRASHES = 1000

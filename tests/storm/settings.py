"""Production's settings without pages, for processes that a storm kills. Leases come from the environment.

The engine host is scripted, so that hundreds of runs take seconds; with `STORM_ENGINE=real` it is production's, on a tiny model.
"""

import sys
from pathlib import Path

from promptlab.settings import *  # noqa: F403
from promptlab.settings import HOME, env

FAKE_HOST = Path(__file__).parents[1] / "workers" / "fake_host.py"
MODEL_FOLDERS = [str(HOME)]
if env.str("STORM_ENGINE", default="scripted") != "real":
    ENGINE_HOST_COMMAND = [sys.executable, str(FAKE_HOST), "work", env.str("STORM_RUN_SECONDS", default="1.0"), str(HOME)]
LATENCY_PATIENCE_SECONDS = 0.0
ROOT_URLCONF = "tests.storm.urls"
# Random kills are nobody's fault in a storm.
JOB_MAX_CRASHES = JOB_MAX_CRASHES_WITHOUT_PROGRESS = env.int("STORM_MAX_CRASHES", default=1000)

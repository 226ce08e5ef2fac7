"""Settings of the test suite: a temporary home, fast hashing, hints kept in memory. Everything else is production's."""

import os
import tempfile

# Processes of pytest-xdist inherit the environment of the one that starts them; with one home, each would throw away files of the others.
if "PROMPTLAB_HOME" not in os.environ or os.environ.get("PROMPTLAB_HOME_OF") != os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["PROMPTLAB_HOME"] = tempfile.mkdtemp(prefix="promptlab-tests-")
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["PROMPTLAB_HOME_OF"] = os.environ["PYTEST_XDIST_WORKER"]
os.environ.setdefault("SECRET_KEY", "test-" + "k" * 60)

from promptlab.settings import *  # noqa: F403
from promptlab.settings import CACHES, STATIC_ROOT, STORAGES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
CACHES = {**CACHES, "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
LATENCY_PATIENCE_SECONDS = 0.0
CELERY_BROKER_URL = "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = {}
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
STATIC_ROOT.mkdir(exist_ok=True)

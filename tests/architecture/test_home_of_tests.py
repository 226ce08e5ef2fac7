"""What keeps test processes that run side by side out of each other's way."""

import os
from pathlib import Path

from django.conf import settings


def test_a_test_process_has_a_home_of_its_own():
    assert Path(os.environ["PROMPTLAB_HOME"]) == settings.HOME
    assert os.environ.get("PROMPTLAB_HOME_OF") == os.environ.get("PYTEST_XDIST_WORKER")

"""The import law at run time: web and Celery processes start without a model library. import-linter proves it on the source.

The other half, an engine host that works where the web cannot be imported, stands in tests/workers/engine/test_host.py.
"""

import subprocess
import sys

import pytest

MODEL_LIBRARIES = ("torch", "transformers", "peft")


def loaded_by(program: str, names: tuple[str, ...]) -> str:
    """Which of the named modules a fresh interpreter has loaded after running `program`."""
    program = f"{program}\nimport sys; print([name for name in {names!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.strip()


@pytest.mark.parametrize("entry", ["promptlab.wsgi, promptlab.urls", "workers.tasks", "workers.hosted_search"])
def test_web_and_celery_processes_start_without_model_libraries(entry):
    assert loaded_by(f"import django; django.setup(); import {entry}", MODEL_LIBRARIES) == "[]"

"""The import law at run time: web and Celery processes start without a model library. import-linter proves it on the source.

The other half, an engine host that works where the web cannot be imported, stands in tests/workers/engine/test_host.py.
"""

import json
import subprocess
import sys

MODEL_LIBRARIES = ("torch", "transformers", "peft")


ENTRIES = ("promptlab.wsgi", "promptlab.urls", "workers.tasks", "workers.hosted_search")


def loaded_by(entries: tuple[str, ...], names: tuple[str, ...]) -> dict[str, list[str]]:
    """Which of the named modules a fresh interpreter has loaded after each entry, imported one after the other."""
    program = f"""
import django, importlib, json, sys
django.setup()
loaded = {{}}
for entry in {entries!r}:
    importlib.import_module(entry)
    loaded[entry] = [name for name in {names!r} if name in sys.modules]
print(json.dumps(loaded))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found: dict[str, list[str]] = json.loads(ended.stdout)
    return found


def test_web_and_celery_processes_start_without_model_libraries():
    assert loaded_by(ENTRIES, MODEL_LIBRARIES) == {entry: [] for entry in ENTRIES}

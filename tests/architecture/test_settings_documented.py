"""Each environment variable that settings read stands in .env.example, and nothing else does."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_env_example_names_exactly_the_variables_that_settings_read():
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z0-9_]+)"', (ROOT / "promptlab/settings.py").read_text()))
    documented = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert read, "the pattern found no variable at all"
    assert documented == read

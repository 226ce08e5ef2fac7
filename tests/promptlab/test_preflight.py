"""A machine that cannot hold the environment is told so with the line that mends it."""

import importlib.util
import sys

from promptlab import preflight


def test_this_python_is_good_enough():
    assert preflight.problem() is None


def test_an_old_python_is_named_with_the_way_to_a_newer_one(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))

    assert "needs Python 3.11 or newer; this is Python 3.9.2" in preflight.problem()
    assert "make run PYTHON=python3.11" in preflight.problem()


def test_a_python_without_venv_is_told_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())

    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert preflight.problem() == f"This Python lacks ensurepip.\n  sudo apt-get install python{version}-venv"

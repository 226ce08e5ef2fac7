"""The machine under a benchmark: what it is, how busy others keep it, how fast it multiplies. Knows no model."""

import hashlib
import os
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from workers.engine.latency import OtherLoad
from workers.engine.model.runtime import choose_dtype, cpu_flags, describe_machine, versions

_MOST_OTHERS = 0.3  # processor cores that other programs may keep busy
_LOOK_SECONDS = 3.0
_CODE = Path(__file__).parents[2]
_TOLD_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
_PEERS = ("lm_eval", "trl", "accelerate", "datasets")


class Busy(Exception):
    """Other programs use the processor, so that no timing would mean anything."""


def refuse_busy_machine() -> float:
    """Look for a few seconds; returns the cores that others kept busy.

    Raises:
        Busy: more than the protocol allows.
    """
    look = OtherLoad()
    time.sleep(_LOOK_SECONDS)
    others = look.cores()
    if busy_sentence(others):
        raise Busy(
            f"This machine is busy: other programs use {others:.1f} of {psutil.cpu_count()} cores, and timings beside them mean nothing. "
            "Wait until they end, or set BENCH_CLOCK=cpu for ratios of processor time on one thread, without a verdict."
        )
    return others


def busy_sentence(others: float) -> str:
    """Why figures taken meanwhile mean nothing; empty when they do."""
    return f"no ratio: other programs used {others:.1f} cores meanwhile" if others > _MOST_OTHERS else ""


def describe(device: torch.device) -> dict[str, Any]:
    """The machine in plain values."""
    flags = cpu_flags()
    return {
        **describe_machine(device.type),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "cpu_flags": {name: name in flags for name in _TOLD_FLAGS},
        "load_average": os.getloadavg(),
        "fast_bf16": is_bf16_fast(device),
    }


def is_bf16_fast(device: torch.device) -> bool:
    """Whether this machine multiplies bf16 numbers faster than fp32 ones."""
    return choose_dtype("auto", device) == torch.bfloat16


def all_versions() -> dict[str, str]:
    """Of the engine's libraries and of the peers'."""
    found = versions()
    for name in _PEERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The code that is measured: its commit and a hash of what was changed since; empty outside of a repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    asked = (("rev-parse", "HEAD"), ("diff", "HEAD"))
    try:
        head, changes = (subprocess.run([git, *words], capture_output=True, check=True, cwd=_CODE).stdout for words in asked)
    except subprocess.CalledProcessError:
        return ""
    return head.decode().strip() + (f"+{hashlib.sha256(changes).hexdigest()[:8]}" if changes else "")


def multiply_rate(device: torch.device, dtype: torch.dtype, size: int = 2048, seconds: float = 1.0) -> float:
    """GFLOP/s of a large matrix product on all threads of this process: what any side could reach at best."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    settle = settler(device)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until or best == float("inf"):
        settle()
        started = time.perf_counter()
        torch.mm(left, right)
        settle()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9


def settler(device: torch.device) -> Any:
    """A function that waits until the device has done what it was given."""
    return torch.cuda.synchronize if device.type == "cuda" else _nothing


def _nothing() -> None:
    return None

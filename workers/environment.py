"""What an engine host inherits: paths, locale, model library and accelerator settings; no secret of the web process."""

import ctypes.util
import os
from collections.abc import Mapping

PASSED_ON = {"PATH", "HOME", "USER", "LANG", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR"}
PASSED_ON_PREFIXES = ("LC_", "PYTHON", "CUDA", "NVIDIA", "HF_", "TORCH", "TRANSFORMERS_", "TOKENIZERS_", "OMP_", "MKL_", "KMP_")


def host_environment(*, hub_allowed: bool, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of an engine host.

    Args:
        hub_allowed: whether models may be loaded from the Hugging Face Hub; otherwise the host stays offline.
    """
    environment = {name: value for name, value in given.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)}
    environment["PYTHONUNBUFFERED"] = "1"
    environment.setdefault("OMP_NUM_THREADS", str(_cores()))
    if not hub_allowed:
        environment["HF_HUB_OFFLINE"] = environment["TRANSFORMERS_OFFLINE"] = "1"
    allocator = ctypes.util.find_library("jemalloc")
    if allocator:  # returns big blocks to the kernel less often than the C library's own, which costs a small model much time
        environment["LD_PRELOAD"] = allocator
    return environment


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

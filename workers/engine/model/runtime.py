"""The machine under a run: seed, device, number format, threads, clocks, memory. Knows no model."""

import contextlib
import ctypes
import gc
import platform
import random
import resource
import time
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import torch

from workers.engine.errors import BadSpec

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def seed_everything(seed: int) -> None:
    """Same seed, same run: Python, NumPy and torch all start from it."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def quiet_libraries() -> None:
    """Keep progress bars and advice of the model libraries off the terminal; faults still come as exceptions."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    warnings.filterwarnings("ignore", category=UserWarning, module="peft")


def choose_device(wanted: str) -> torch.device:
    """The device to run on; `auto` takes a GPU when there is one.

    Raises:
        BadSpec: a GPU is asked for and none is there.
    """
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise BadSpec("The run asks for a GPU, but this machine offers none. Choose device 'auto' or 'cpu'.")
    return torch.device("cuda" if has_gpu and wanted != "cpu" else "cpu")


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The number format that the frozen model computes in; `auto` takes bf16 where the machine multiplies it fast.

    Weights held in 8 or 4 bits are computed with in bf16.
    """
    if wanted == "auto":
        wanted = "bf16" if _is_bf16_fast(device) else "fp32"
    return torch.float32 if wanted == "fp32" else torch.bfloat16


def _is_bf16_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        # Older GPUs (V100, T4) take bf16 as well, but convert every product.
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without either instruction every product is converted to fp32 and back, which is slower than fp32 itself.
    has_library = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return has_library and bool({"amx_bf16", "avx512_bf16"} & cpu_flags())


def cpu_flags() -> frozenset[str]:
    """Instruction sets of the processor; empty where the kernel does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
            for line in info:
                if line.startswith("flags"):
                    return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()


def keep_freed_memory() -> bool:
    """Tell the C allocator to keep large freed blocks.

    Handing tensors back to the kernel and touching fresh pages at every step costs more than the arithmetic of a small model.
    Returns False where the C library has no such dial.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def begin_peak_memory() -> None:
    """Let the peak begin at what is in use now: a warm host has had other runs, and theirs is not this one's."""
    for index in _gpus():
        torch.cuda.reset_peak_memory_stats(index)
    with contextlib.suppress(OSError):  # a kernel that keeps no such file goes on with its peak
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_bytes() -> int:
    """Highest memory use since `begin_peak_memory`: of all GPUs' allocators where they are in use, else of this process."""
    if on_gpus := sum(torch.cuda.max_memory_allocated(index) for index in _gpus()):
        return on_gpus
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _gpus() -> range:
    """The GPUs, none before one was used: asking them would take memory for each."""
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)  # type: ignore[no-untyped-call]


def return_freed_memory() -> None:
    """Give the device what no tensor holds any longer, so that a look at its free memory counts it.

    A model whose modules refer to each other is freed by the collector of cycles only, and torch keeps freed blocks for itself.
    """
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def free_memory_bytes(device: torch.device, limit_bytes: int | None = None) -> int:
    """Memory that a run may still take: of the GPU, else of the machine, its container and the limit of this process.

    Args:
        limit_bytes: most memory that this process may use, or None.
    """
    if device.type == "cuda":
        return_freed_memory()
        return int(torch.cuda.mem_get_info(device)[0])
    free = [int(psutil.virtual_memory().available)]
    if limit_bytes:
        free.append(limit_bytes - int(psutil.Process().memory_info().rss))
    try:
        # A container's own limit; the machine's figures know nothing of it. File pages that can be dropped are no use of memory.
        limit, used, parts = (Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii") for name in ("max", "current", "stat"))
        droppable = dict(line.split() for line in parts.splitlines())["inactive_file"]
        free.append(int(limit) - int(used) + int(droppable))
    except (OSError, ValueError, KeyError):
        pass  # no container, or one without a limit ("max")
    return max(0, min(free))


def is_out_of_memory(error: BaseException) -> bool:
    """True for every way in which Python and torch say that memory is short."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def describe_machine(wanted_device: str) -> dict[str, str | int]:
    """Where a run took place: kind of device, its name, threads."""
    device = choose_device(wanted_device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {"device": device.type, "device_name": name, "threads": torch.get_num_threads()}


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
            names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of everything that can move a result."""
    names = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "scikit-learn")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass
class Stopwatch:
    """Seconds spent per named phase of a run."""

    seconds: dict[str, float] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)

    def start(self, phase: str) -> None:
        self._started[phase] = time.perf_counter()

    def stop(self, phase: str) -> float:
        elapsed = time.perf_counter() - self._started.pop(phase)
        self.seconds[phase] = self.seconds.get(phase, 0.0) + elapsed
        return elapsed

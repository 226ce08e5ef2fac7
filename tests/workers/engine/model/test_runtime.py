import mmap

import pytest
import torch

from workers.engine.model import runtime

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2", "avx512f"}, torch.float32),
        ({"avx512f", "avx512_bf16"}, torch.bfloat16),
        ({"avx512f", "amx_bf16", "amx_tile"}, torch.bfloat16),
    ],
)
def test_auto_takes_bf16_where_the_processor_multiplies_it_itself(monkeypatch, flags, expected):
    monkeypatch.setattr(runtime, "cpu_flags", lambda: frozenset(flags))

    assert runtime.choose_dtype("auto", CPU) is expected


def test_auto_stays_in_fp32_without_the_library_that_knows_the_instructions(monkeypatch):
    monkeypatch.setattr(runtime, "cpu_flags", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)

    assert runtime.choose_dtype("auto", CPU) is torch.float32


@pytest.mark.parametrize(("is_native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_that_only_emulates_bf16_computes_in_fp32(monkeypatch, is_native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or is_native)

    assert runtime.choose_dtype("auto", torch.device("cuda")) is expected


def test_the_peak_of_a_run_leaves_out_what_another_run_took():
    size = 1 << 28
    with mmap.mmap(-1, size) as block:
        for page in range(0, size, mmap.PAGESIZE):
            block[page] = 1
    before = runtime.peak_memory_bytes()

    runtime.begin_peak_memory()

    assert runtime.peak_memory_bytes() < before - size // 2


def test_a_look_at_the_free_memory_of_a_gpu_counts_what_torch_keeps_for_itself(monkeypatch):
    kept = {"bytes": 3}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: kept.update(bytes=0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 - kept["bytes"], 10))

    assert runtime.free_memory_bytes(torch.device("cuda")) == 10

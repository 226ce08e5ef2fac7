import pytest
import torch

from workers.engine import runtime

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

"""Where a model's weights lie, and in how many bits: on one device, over several, or in 8 or 4 bits. Knows no prompts and no data."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import psutil
import torch
from accelerate import infer_auto_device_map, init_empty_weights
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from accelerate.utils import compute_module_sizes
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BitsAndBytesConfig, PretrainedConfig, PreTrainedModel

from workers.engine.contract.spec import FEW_BITS
from workers.engine.errors import BadSpec, OutOfMemory
from workers.engine.model.runtime import return_freed_memory

# What is left over has to hold states, logits and gradients.
_SHARE = 0.85


def loading_arguments(wanted: str, config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told beyond the usual; empty where the model simply goes to its one device.

    Args:
        wanted: how the run asks for the weights, a word of `spec.DTYPES`.
        dtype: format that the model computes in.
    Raises:
        BadSpec: few bits are asked for where there is no GPU, or their library is missing.
        OutOfMemory: the model is larger than all GPUs and the machine's memory together.
    """
    if wanted in FEW_BITS:
        refuse_few_bits(wanted, device)
    limits = memory_limits(device)
    spread = device_map(config, dtype, limits, FEW_BITS.get(wanted, 16) / 16) if limits else None
    if wanted in FEW_BITS:
        return {"quantization_config": _few_bits(wanted, dtype), "device_map": spread or {"": 0}}
    return {"device_map": spread} if spread else {}


def refuse_few_bits(wanted: str, device: torch.device) -> None:
    """Weights in 8 or 4 bits need a GPU and bitsandbytes.

    Raises:
        BadSpec: one of them is not there.
    """
    words = f"Weights in {FEW_BITS[wanted]} bits"
    if device.type != "cuda":
        raise BadSpec(f"{words} need an NVIDIA GPU, and this worker runs on the CPU. Choose fp32 or bf16, or a worker with a GPU.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BadSpec(f"{words} need the package bitsandbytes, which this worker lacks. Install it, or choose bf16.")


def memory_limits(device: torch.device) -> dict[int | str, int]:
    """Bytes that weights may take on each GPU and in the machine's memory; empty on a CPU, which has but one place."""
    if device.type != "cuda":
        return {}
    return_freed_memory()
    limits: dict[int | str, int] = {index: int(torch.cuda.mem_get_info(index)[0] * _SHARE) for index in range(torch.cuda.device_count())}
    return {**limits, "cpu": int(psutil.virtual_memory().available * _SHARE)}


def device_map(
    config: PretrainedConfig, dtype: torch.dtype, limits: Mapping[int | str, int], scale: float = 1.0
) -> dict[str, int | str] | None:
    """Which part of the model lies where, or None when the first place holds all of it.

    Args:
        limits: bytes by place, the fastest first.
        scale: size of a weight as a share of 16 bits, where weights are held in fewer.
    Raises:
        OutOfMemory: all places together are too small.
    """
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with init_empty_weights():
        model = kind.from_config(config)
    model.tie_weights()
    needed = compute_module_sizes(model, dtype=dtype)[""] * scale
    if needed <= next(iter(limits.values())):
        return None
    if needed > sum(limits.values()):
        room = sum(limits.values()) / 1e9
        raise OutOfMemory(f"The model needs {needed / 1e9:,.1f} GB, and there is room for {room:,.1f} GB. Choose a smaller one.")
    roomy = {place: int(size / scale) for place, size in limits.items()}
    whole = list(model._no_split_modules or [])
    split: dict[str, int | str] = infer_auto_device_map(model, roomy, no_split_module_classes=whole, dtype=dtype)
    return split


def gather_states(model: PreTrainedModel) -> None:
    """Let the last states of a model that lies on several devices come back to where its ids went in.

    Answer positions are marked there, and a GPU cannot read by a mask that lies on another one. The hook stands on what the model asks
    for its last states, which is not always `base_model`: OPT passes that by.
    """
    if len(set(getattr(model, "hf_device_map", {}).values())) > 1 and not model.config.is_encoder_decoder:
        add_hook_to_module(model.get_decoder(), AlignDevicesHook(io_same_device=True, skip_keys="past_key_values"), append=True)


def device_of(block: nn.Module, otherwise: torch.device) -> torch.device:
    """Where a part of a model computes. Weights that lie in the machine's memory come to their GPU when they are needed."""
    places = (parameter.device for parameter in block.parameters() if not parameter.is_meta)
    return next(places, otherwise)


def _few_bits(wanted: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    if wanted == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)

"""How a gradient becomes a step: the optimiser, its state by name, and the step size of every step. Knows no model and no data."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers.optimization import Adafactor


def make_optimizer(parameters: Iterable[Tensor], options: Mapping[str, Any]) -> torch.optim.Optimizer:
    """AdamW, or Adafactor with steps of the given size: no scaling by the parameters' size, no step size of its own.

    Source: Lester et al. 2021 (arXiv 2104.08691), for T5's soft prompts.
    """
    if options.get("optimizer") == "adafactor":
        fixed: torch.optim.Optimizer = Adafactor(
            parameters, lr=1.0, weight_decay=options["weight_decay"], scale_parameter=False, relative_step=False, warmup_init=False
        )
        return fixed
    return torch.optim.AdamW(parameters, lr=1.0, betas=(0.9, 0.95), weight_decay=options["weight_decay"], fused=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser has counted and averaged so far, by name."""
    state = optimizer.state_dict()["state"]
    # Adafactor counts its steps in plain numbers.
    return {f"optimizer/{index}/{key}": torch.as_tensor(value) for index, each in state.items() for key, value in each.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Let an optimiser go on from `optimizer_tensors`; other names are left alone."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def rate_at(step: int, peak: float, options: Mapping[str, Any]) -> float:
    """Step size of the step after `step` others: a linear rise to the peak, then constant or a linear fall to zero."""
    warmup, steps = int(options["warmup_steps"]), int(options["max_steps"])
    if step < warmup:
        return peak * (step + 1) / warmup
    if options["schedule"] == "constant":
        return peak
    return peak * (steps - step) / max(1, steps - warmup)

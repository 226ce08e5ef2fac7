"""LoRA and IA3 per row: rows with different adapters go through one pass and share the model's own matrix products.

PEFT takes names of adapters for the rows of a batch with LoRA alone, and ignores them with IA3 without a word. So the numbers are taken
out of PEFT's modules, PEFT is taken off the model, and hooks on the model's own matrices add to each row what its adapter adds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from peft.tuners.ia3 import IA3Layer
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from workers.engine.errors import Unsupported

_NAME = "default"
Part = TypeVar("Part")


@dataclass(frozen=True)
class LowRank:
    """scaling * up(down(x)), added to a matrix's output.

    Args:
        down: [r, in]; up: [out, r].
    """

    down: Tensor
    up: Tensor
    scaling: float


@dataclass(frozen=True)
class RowAdapter:
    """What one adapter does to the matrices of a model, by module name.

    Args:
        low_rank: LoRA's corrections.
        on_input, on_output: IA3's factors, [in] and [out].
    """

    low_rank: Mapping[str, LowRank] = field(default_factory=dict)
    on_input: Mapping[str, Tensor] = field(default_factory=dict)
    on_output: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        tensors = [tensor for part in self.low_rank.values() for tensor in (part.down, part.up)]
        tensors += [*self.on_input.values(), *self.on_output.values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def adapter_of(model: PreTrainedModel, title: str) -> RowAdapter:
    """The numbers of the adapter that PEFT holds in a model's modules.

    Args:
        title: how to call the adapter in a refusal.
    Raises:
        Unsupported: it does something that cannot be done row by row.
    """
    low_rank: dict[str, LowRank] = {}
    on_input: dict[str, Tensor] = {}
    on_output: dict[str, Tensor] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        if layer.get_base_layer() is _head_of(model) or not isinstance(layer.get_base_layer(), nn.Linear | Conv1D):
            raise Unsupported(f"{title} changes {name}, which is no matrix inside a block, so its rows cannot share a pass. Run it alone.")
        if isinstance(layer, IA3Layer):
            (on_input if layer.is_feedforward else on_output)[name] = layer.ia3_l[_NAME].detach().flatten()
        elif isinstance(layer, LoraLayer) and _NAME not in layer.lora_variant and layer.lora_B[_NAME].bias is None:
            weights = (layer.lora_A[_NAME].weight.detach(), layer.lora_B[_NAME].weight.detach())
            low_rank[name] = LowRank(*weights, scaling=float(layer.scaling[_NAME]))
        else:
            raise Unsupported(
                f"{title} is a variant of LoRA that scales whole matrices (DoRA) or more, so its rows cannot share a pass. "
                "Run it alone, or make it with the variant plain or rslora."
            )
    return RowAdapter(low_rank, on_input, on_output)


def _head_of(model: PreTrainedModel) -> nn.Module | None:
    head: nn.Module | None = model.get_output_embeddings()
    return head.get_base_layer() if isinstance(head, BaseTunerLayer) else head


@dataclass(frozen=True)
class _Stack:
    """One tensor for all adapters that touch a module: [K, ...] and which of the batch's adapters they are."""

    members: tuple[int, ...]
    tensors: tuple[Tensor, ...]


# The rows that a stack touches (None: all of them) and, for each of these rows, its place in the stack.
_Where = tuple[Tensor | None, Tensor]


class RowAdapters:
    """The adapters of the rows of a batch, None for a row without. A single one stands for a batch of any size."""

    def __init__(self, adapters: Sequence[RowAdapter | None]) -> None:
        distinct = list({id(each): each for each in adapters if each is not None}.values())
        places = {id(each): place for place, each in enumerate(distinct)}
        self._slots = [-1 if each is None else places[id(each)] for each in adapters]
        self._low_rank = _stacks([each.low_rank for each in distinct], _stack_low_rank)
        self._on_input = _stacks([each.on_input for each in distinct], _stack_factors)
        self._on_output = _stacks([each.on_output for each in distinct], _stack_factors)
        self._found: dict[tuple[tuple[int, ...], torch.device], _Where] = {}

    def keep(self, kept: Sequence[int]) -> None:
        """Go on with some of the rows only."""
        self._slots = [self._slots[at] for at in kept]
        self._found = {}

    @contextmanager
    def on(self, model: PreTrainedModel) -> Iterator[None]:
        """Hook the adapters to the model for as long as this lasts; no module is replaced."""
        handles = []
        try:
            for name, stack in self._on_input.items():
                handles.append(model.get_submodule(name).register_forward_pre_hook(self._scale_input(stack)))
            for name, stack in self._on_output.items():
                handles.append(model.get_submodule(name).register_forward_hook(self._scale_output(stack)))
            for name, stack in self._low_rank.items():
                handles.append(model.get_submodule(name).register_forward_hook(self._add_low_rank(stack)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add_low_rank(self, stack: _Stack) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        down, up, scaling = stack.tensors

        def correct(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            del module
            rows, slots = self._where(stack, output.device)
            ours, out = self._by_row(inputs[0]), self._by_row(output)
            if rows is not None:
                ours = ours[rows]
            # The scaling stays in fp32, so that bf16 rounds where PEFT rounds.
            low = ((ours.to(down.dtype) @ down[slots] @ up[slots]) * scaling[slots]).to(out.dtype)
            return (out + low if rows is None else out.index_add(0, rows, low)).view_as(output)

        return correct

    def _scale_input(self, stack: _Stack) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        return lambda module, inputs: (self._scaled(stack, inputs[0]), *inputs[1:])

    def _scale_output(self, stack: _Stack) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        return lambda module, inputs, output: self._scaled(stack, output)

    def _scaled(self, stack: _Stack, values: Tensor) -> Tensor:
        rows, slots = self._where(stack, values.device)
        ours = self._by_row(values)
        factors = stack.tensors[0][slots]
        if rows is None:
            return (ours * factors).to(values.dtype).view_as(values)
        return ours.index_copy(0, rows, (ours[rows] * factors).to(values.dtype)).view_as(values)

    def _by_row(self, values: Tensor) -> Tensor:
        """[B, T, width]; some models hand their matrices all tokens of a batch in one row."""
        return values if values.dim() == 3 else values.reshape(len(self._slots), -1, values.shape[-1])

    def _where(self, stack: _Stack, device: torch.device) -> _Where:
        if (key := (stack.members, device)) not in self._found:  # the layers of a large model lie on several devices
            rows = [row for row, slot in enumerate(self._slots) if slot in stack.members]
            slots = torch.tensor([stack.members.index(self._slots[row]) for row in rows], dtype=torch.long, device=device)
            everyone = len(rows) == len(self._slots)
            self._found[key] = (None if everyone else torch.tensor(rows, dtype=torch.long, device=device), slots)
        return self._found[key]


def _stacks(parts: Sequence[Mapping[str, Part]], stack: Callable[[Sequence[Part]], tuple[Tensor, ...]]) -> dict[str, _Stack]:
    """Per module, what the adapters that touch it do, in one tensor."""
    found = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        members = tuple(place for place, part in enumerate(parts) if name in part)
        found[name] = _Stack(members, stack([parts[place][name] for place in members]))
    return found


def _stack_low_rank(parts: Sequence[LowRank]) -> tuple[Tensor, ...]:
    """[K, in, r], [K, r, out] and [K, 1, 1]; smaller ranks are filled up with zeros, which add exactly nothing."""
    rank = max(len(part.down) for part in parts)
    first = parts[0]
    down = first.down.new_zeros(len(parts), first.down.shape[1], rank)
    up = first.up.new_zeros(len(parts), rank, first.up.shape[0])
    for place, part in enumerate(parts):
        down[place, :, : len(part.down)], up[place, : len(part.down)] = part.down.T, part.up.T
    scaling = torch.tensor([part.scaling for part in parts], device=first.down.device)
    return down, up, scaling[:, None, None]


def _stack_factors(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """[K, 1, width]."""
    return (torch.stack(list(parts))[:, None],)

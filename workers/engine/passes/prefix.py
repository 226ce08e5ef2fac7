"""What all rows begin with, run once. Knows causal models and their caches, nothing of templates or labels.

In a causal model the states of the first P positions do not depend on what follows, so B rows need one pass over the
prefix, not B. The states are never cropped or written to: every pass reads them through a cache of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True)
class PrefixStates:
    """Keys and values of the prefix, per layer [1, heads, P, head size]; of K prefixes that were run side by side, [K, …]."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @classmethod
    def side_by_side(cls, states: "Sequence[PrefixStates]") -> "PrefixStates":
        """Prefixes of one length as one batch."""
        keys = tuple(torch.cat(layer) for layer in zip(*(each.keys for each in states), strict=True))
        values = tuple(torch.cat(layer) for layer in zip(*(each.values for each in states), strict=True))
        return cls(keys, values)

    @property
    def length(self) -> int:
        return int(self.keys[0].shape[-2])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.keys, *self.values)

    @property
    def num_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)

    def first(self, length: int) -> "PrefixStates | None":
        """The first `length` positions, which do not depend on those after them; None for no position. Nothing is copied."""
        if length == self.length:
            return self
        cut = [tuple(tensor[..., :length, :] for tensor in part) for part in (self.keys, self.values)]
        return PrefixStates(*cut) if length else None

    def only(self, place: int) -> "PrefixStates":
        """One of several prefixes that were run side by side."""
        keys, values = (tuple(tensor[place : place + 1] for tensor in part) for part in (self.keys, self.values))
        return PrefixStates(keys, values)

    def as_leaf(self) -> "PrefixStates":
        """The same states cut off from what made them, collecting the gradients of all micro-batches of a step."""
        keys = tuple(key.detach().requires_grad_() for key in self.keys)
        values = tuple(value.detach().requires_grad_() for value in self.values)
        return PrefixStates(keys, values)

    def as_zeros(self) -> "PrefixStates":
        """States of the same shapes that are all zero."""
        return PrefixStates(tuple(map(torch.zeros_like, self.keys)), tuple(map(torch.zeros_like, self.values)))

    def cache(self) -> Cache:
        """A cache for one pass over a batch of any size; the pass cannot change the states."""
        return Cache(layers=[_SharedLayer(key, value) for key, value in zip(self.keys, self.values, strict=True)])

    def growing_cache(self, batch_size: int) -> DynamicCache:
        """A cache that a generation may extend; it owns a copy of the states."""
        cache = DynamicCache()
        for layer, (key, value) in enumerate(zip(self.keys, self.values, strict=True)):
            cache.update(key.expand(batch_size, -1, -1, -1), value.expand(batch_size, -1, -1, -1), layer)
        return cache


class _SharedLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's prefix states, expanded (not copied) to the batch and joined with the batch's own for one pass."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys = keys
        self.values = values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        rows = key_states.shape[0]
        keys = torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2)
        values = torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2)
        return keys, values


@dataclass(frozen=True)
class Virtual:
    """The learned part in front of every row: input vectors [P, H], or keys and values, or nothing."""

    vectors: Tensor | None = None
    states: PrefixStates | None = None

    @property
    def length(self) -> int:
        if self.vectors is not None:
            return int(self.vectors.shape[0])
        return self.states.length if self.states else 0


NO_VIRTUAL = Virtual()


def prefix_of(model: PreTrainedModel, virtual: Virtual, text_ids: Sequence[int]) -> PrefixStates | None:
    """States of the learned part and the text that all rows begin with; None when rows share nothing."""
    parts = [virtual.vectors] if virtual.vectors is not None else []
    if text_ids:
        parts.append(embed(model, text_ids))
    if not parts:
        return virtual.states
    return run_prefix(model, torch.cat(parts).to(model.dtype), virtual.states)


def prefixes_of(model: PreTrainedModel, virtuals: Sequence[Virtual], text_ids: Sequence[int]) -> PrefixStates:
    """`prefix_of` for K learned parts of one kind and length, in one pass; states [K, heads, P, head size] a layer."""
    vectors = [virtual.vectors for virtual in virtuals if virtual.vectors is not None]
    states = [virtual.states for virtual in virtuals if virtual.states]
    before = PrefixStates.side_by_side(states) if states else None
    parts = [torch.stack(vectors)] if vectors else []
    if text_ids:
        parts.append(embed(model, text_ids).expand(len(virtuals), -1, -1))
    if before and not parts:
        return before
    return run_prefix(model, torch.cat(parts, dim=1).to(model.dtype), before)


def run_prefix(model: PreTrainedModel, vectors: Tensor, before: PrefixStates | None = None) -> PrefixStates:
    """Keys and values of a prefix.

    Args:
        model: the causal model, adapters included.
        vectors: [P, H] input vectors, learned or embedded text, in the model's dtype; [K, P, H] of K prefixes side by side.
        before: states that stand in front of these vectors (a learned key-value prefix).
    Returns:
        States of everything up to the last vector, differentiable with respect to `vectors` and `before`.
    """
    start = before.length if before else 0
    inputs = vectors if vectors.dim() == 3 else vectors[None]
    number, length = inputs.shape[:2]
    cache = before.growing_cache(number) if before else DynamicCache()
    model(
        inputs_embeds=inputs,
        position_ids=torch.arange(start, start + length, device=vectors.device).expand(number, -1),
        attention_mask=torch.ones(number, start + length, dtype=torch.long, device=vectors.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=torch.empty(0, dtype=torch.long, device=vectors.device),  # states are wanted, no predictions
    )
    return PrefixStates(tuple(layer.keys for layer in cache.layers), tuple(layer.values for layer in cache.layers))


def embed(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    """[len(ids), H] input vectors of tokens."""
    table = model.get_input_embeddings()
    vectors: Tensor = table(torch.tensor(list(ids), dtype=torch.long, device=table.weight.device))
    return vectors

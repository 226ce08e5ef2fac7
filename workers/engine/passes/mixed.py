"""One pass over rows that stand behind different prefixes: a prefix each, of uneven lengths. Knows no prompts and no adapters.

A prefix is states and nothing else here, so that a soft prompt, a learned prefix, P-tuning's vectors and a written prompt that was
run before are one thing. Prefixes are padded on the right; pads are masked, and every row counts its positions from its own prefix.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from workers.engine.passes.batching import Batch
from workers.engine.passes.forward import additive_mask
from workers.engine.passes.prefix import PrefixStates


@dataclass(frozen=True)
class PrefixRows:
    """The prefix of each of B rows; None for a row without one."""

    rows: tuple[PrefixStates | None, ...]

    @property
    def width(self) -> int:
        """Positions of the longest prefix."""
        return max((states.length for states in self.rows if states), default=0)

    def seen(self, device: torch.device) -> Tensor:
        """[B, P] bool: which positions of the padded prefixes are a row's own."""
        lengths = torch.tensor([states.length if states else 0 for states in self.rows], device=device)
        return torch.arange(self.width, device=device)[None, :] < lengths[:, None]

    def cache(self) -> Cache | None:
        """A cache for one pass over exactly these rows; padded copies of a layer live only while that layer runs."""
        if not self.width:
            return None
        return Cache(layers=[_MixedLayer(self, layer) for layer in range(self._num_layers())])

    def growing_cache(self) -> DynamicCache:
        """A cache that a generation may extend; it owns padded copies of all states."""
        cache = DynamicCache()
        for layer in range(self._num_layers() if self.width else 0):
            cache.update(*self.padded(layer), layer)
        return cache

    def padded(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, [B, heads, P, head size] each, zeros where a prefix has ended."""
        if self._equal is not None:
            held, owners = self._equal
            both = zip(*((states.keys[layer], states.values[layer]) for states in held), strict=True)
            keys, values = (torch.cat(part).index_select(0, owners.to(part[0].device)) for part in both)
            return keys, values
        # Rows with the same prefix are filled by one copy.
        places: dict[int, list[int]] = {}
        for row, states in enumerate(self.rows):
            places.setdefault(id(states), []).append(row)
        some = next(states for states in self.rows if states)
        keys, values = (
            part.new_zeros(len(self.rows), part.shape[1], self.width, part.shape[3]) for part in (some.keys[layer], some.values[layer])
        )
        for rows in places.values():
            states = self.rows[rows[0]]
            if states:
                keys[rows, :, : states.length] = states.keys[layer]
                values[rows, :, : states.length] = states.values[layer]
        return keys, values

    @cached_property
    def _equal(self) -> tuple[list[PrefixStates], Tensor] | None:
        """Each prefix once, and [B] which of them a row has; None where they differ in length, so that some have to be padded."""
        held = list({id(states): states for states in self.rows if states}.values())
        if None in self.rows or len({states.length for states in held}) != 1:
            return None
        place_of = {id(states): place for place, states in enumerate(held)}
        return held, torch.tensor([place_of[id(states)] for states in self.rows], device=held[0].keys[0].device)

    def _num_layers(self) -> int:
        return next(len(states.keys) for states in self.rows if states)


class _MixedLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's prefixes, padded and joined with the batch's own states for one pass."""

    def __init__(self, prefixes: PrefixRows, layer: int) -> None:
        super().__init__()
        self.prefixes, self.layer = prefixes, layer
        self.is_initialized = True

    def get_seq_length(self) -> int:
        return self.prefixes.width

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys, values = self.prefixes.padded(self.layer)
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


def mixed_pass(model: PreTrainedModel, prefixes: PrefixRows, batch: Batch) -> Tensor:
    """Logits at the answer positions of rows that stand behind prefixes of their own.

    Args:
        model: the causal model; adapters of the rows, if any, are hooked to it.
        prefixes: of each row of the batch.
        batch: the rows without their prefixes; positions of pads are 0.
    Returns:
        [A, V] logits in row-major order of `batch.answer_at`.
    """
    seen = prefixes.seen(batch.ids.device)
    rows, width = batch.ids.shape
    visible = torch.cat([seen[:, None, :].expand(-1, width, -1), batch.visible.expand(rows, -1, -1)], dim=2)
    cache = prefixes.cache()
    logits: Tensor = model(
        input_ids=batch.ids,
        position_ids=batch.positions + seen.sum(1)[:, None],
        attention_mask=additive_mask(visible, 0, model.dtype),
        past_key_values=cache,
        use_cache=cache is not None,
        logits_to_keep=batch.answer_at,
    ).logits
    return logits

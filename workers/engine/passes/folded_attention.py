"""Attention of many rows behind one prefix, whose keys and values are read as they lie instead of being copied to every row.

All rows ask the prefix at once: their queries are folded into one long sequence, so that a layer does one large product where an
expanded cache is copied for every row and head and then read in small pieces. What rows see of themselves is a second, small attention;
the two are joined by their normalisers, which is exact. Knows shapes, and of a model only the numbers of its layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workers.engine.passes.prefix import PrefixStates

NAME = "folded_prefix"
# Behind a short prefix the copies are small and a second attention costs more than they do.
_SHORTEST = 64
# What some families add to the scores of their attention and this one does not know.
_UNKNOWN = ("softcap", "s_aux", "position_bias")

_behind: ContextVar[PrefixStates | None] = ContextVar("behind", default=None)


def can_fold(model: PreTrainedModel) -> bool:
    """Whether this model's attention may be told to fold: only the processor's fused kernel hands out its normalisers."""
    return model.device.type == "cpu" and model.config._attn_implementation in ("sdpa", NAME)


def folds(model: PreTrainedModel, prefix: PrefixStates | None) -> bool:
    """Whether a pass behind this prefix is folded: the model was found equal that way, and no gradient must flow into the normalisers."""
    if prefix is None or torch.is_grad_enabled() or model.config._attn_implementation != NAME:
        return False
    return prefix.length >= _SHORTEST


@contextmanager
def folding(prefix: PrefixStates) -> Iterator[None]:
    """Passes on this thread attend to this prefix besides their own tokens for as long as this lasts."""
    token = _behind.set(prefix)
    try:
        yield
    finally:
        _behind.reset(token)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **how: Any
) -> tuple[Tensor, Tensor | None]:
    """[B, T, heads, head size] from [B, heads, T, head size] and fewer heads of keys and values, as transformers asks an attention."""
    prefix = _behind.get()
    if prefix is None:
        plain: tuple[Tensor, Tensor | None] = sdpa_attention_forward(module, query, key, value, attention_mask, **how)
        return plain
    if added := [name for name in _UNKNOWN if how.get(name) is not None]:
        raise NotImplementedError(f"{added[0]} cannot be added to folded attention")
    rows, heads, width, size = query.shape
    scale = how.get("scaling") or size**-0.5
    layer = module.layer_idx
    keys, values = prefix.keys[layer], prefix.values[layer]
    group = heads // keys.shape[1]
    asked = query.view(rows, -1, group, width, size).permute(1, 2, 0, 3, 4).reshape(1, keys.shape[1], group * rows * width, size)
    before, before_norm = _flash(asked, keys, values, None, scale)
    own, own_norm = _flash(query, repeat_kv(key, group), repeat_kv(value, group), attention_mask, scale)
    before = before.view(-1, group, rows, width, size).permute(2, 0, 1, 3, 4).reshape(rows, heads, width, size)
    before_norm = before_norm.view(-1, group, rows, width).permute(2, 0, 1, 3).reshape(rows, heads, width)
    # Each part is a mean under its own softmax; together they weigh as the sums under their normalisers.
    share = torch.sigmoid(before_norm - own_norm).to(own.dtype)[..., None]
    return torch.lerp(own, before, share).transpose(1, 2).contiguous(), None


def _flash(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """What is attended to, and [B, heads, T] the logarithm of the softmax's normaliser."""
    found: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, False, attn_mask=mask, scale=scale
    )
    return found


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

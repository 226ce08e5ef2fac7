"""The two passes over a batch: rows behind a shared prefix, and plain whole sequences. Training and scoring use nothing else.

Both read next-token distributions only where an answer is predicted, through the model's own head with all its scales and
caps. The vocabulary projection is the widest matrix of a small model; no [B, T, V] tensor is ever built.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from workers.engine.passes.batching import Batch
from workers.engine.passes.folded_attention import folding, folds
from workers.engine.passes.prefix import PrefixStates, Virtual
from workers.engine.passes.seq2seq import encoder_decoder_pass


def shared_pass(model: PreTrainedModel, prefix: PrefixStates | None, batch: Batch) -> Tensor:
    """Logits at the answer positions of rows that stand behind a prefix already run.

    Args:
        model: the causal model, adapters included.
        prefix: states that every row begins with, or None when rows share nothing.
        batch: the rows without the prefix.
    Returns:
        [A, V] logits in row-major order of `batch.answer_at`.
    """
    if prefix and folds(model, prefix):
        return folded_pass(model, prefix, batch)
    length = prefix.length if prefix else 0
    logits: Tensor = model(
        input_ids=batch.ids,
        position_ids=batch.positions + length,
        attention_mask=additive_mask(batch.visible, length, model.dtype),
        past_key_values=prefix.cache() if prefix else None,
        use_cache=prefix is not None,
        logits_to_keep=batch.answer_at,
    ).logits
    return logits


def folded_pass(model: PreTrainedModel, prefix: PrefixStates, batch: Batch) -> Tensor:
    """As `shared_pass`, the prefix read as it lies; for models that were found equal that way (`model_probe.sharing_reason`)."""
    with folding(prefix):
        logits: Tensor = model(
            input_ids=batch.ids,
            position_ids=batch.positions + prefix.length,
            attention_mask=additive_mask(batch.visible, 0, model.dtype),
            use_cache=False,
            logits_to_keep=batch.answer_at,
        ).logits
    return logits


def plain_pass(model: PreTrainedModel, virtual: Virtual, batch: Batch) -> Tensor:
    """Logits at the answer positions of whole sequences, each run from its first token with the model's own mask.

    Args:
        virtual: the learned part in front of every row.
        batch: lines (`batching.line_batch`) of whole rows.
    Returns:
        [A, V] logits in row-major order of `batch.answer_at`.
    """
    if model.config.is_encoder_decoder:
        return encoder_decoder_pass(model, virtual, batch)
    vectors, before = virtual.vectors, virtual.states
    inputs = model.get_input_embeddings()(batch.ids)
    rows, width = batch.ids.shape
    lengths = torch.tensor(batch.lengths, device=batch.ids.device)
    own = torch.arange(width, device=batch.ids.device)[None, :] < lengths[:, None]
    ahead = 0
    answer_at = batch.answer_at
    if vectors is not None:
        ahead = vectors.shape[0]
        inputs = torch.cat([vectors.to(inputs.dtype).expand(rows, -1, -1), inputs], dim=1)
        answer_at = torch.cat([own.new_zeros(rows, ahead), answer_at], dim=1)
    seen = ahead + (before.length if before else 0)
    logits: Tensor = model(
        inputs_embeds=inputs,
        attention_mask=torch.cat([own.new_ones(rows, seen), own], dim=1).long(),
        past_key_values=before.growing_cache(rows) if before else None,
        use_cache=before is not None,
        logits_to_keep=answer_at,
    ).logits
    return logits


@contextmanager
def attention_for_gradients(model: PreTrainedModel) -> Iterator[None]:
    """Use the attention that is fast in training for as long as this lasts.

    On a CPU in bf16 the fused kernel's backward pass took five times as long as plain matrix products at rows of 20 to 60 tokens.
    """
    chosen = model.config._attn_implementation
    if model.device.type != "cpu" or model.dtype != torch.bfloat16:
        yield
        return
    model.config._attn_implementation = "eager"
    try:
        yield
    finally:
        model.config._attn_implementation = chosen


def additive_mask(visible: Tensor, prefix_length: int, dtype: torch.dtype) -> Tensor:
    """[B or 1, 1, T, P + T]: 0 where a position may look, the lowest number of the dtype elsewhere."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    mask.masked_fill_(~visible, torch.finfo(dtype).min)
    if prefix_length:
        mask = torch.cat([mask.new_zeros(*mask.shape[:2], prefix_length), mask], dim=2)
    return mask[:, None]

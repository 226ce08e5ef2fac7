"""May rows share a prefix on this model at all? Asked of the model itself, never of its name. Knows no row, no prompt, no tuned part."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from workers.engine.model.families import plain_by_design
from workers.engine.model.runtime import is_out_of_memory
from workers.engine.passes.answers import Answer, build_trie
from workers.engine.passes.batching import Batch, line_batch, tree_batch
from workers.engine.passes.folded_attention import NAME, can_fold
from workers.engine.passes.forward import folded_pass, plain_pass, shared_pass
from workers.engine.passes.prefix import NO_VIRTUAL, PrefixStates, embed, prefix_of

# Largest allowed difference between the shared and the plain computation, by dtype, in nats. In bf16 both paths round differently
# at every layer.
SCORE_TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 1.0}
# What a model raises that cannot read a prefix in parts.
CANNOT_SHARE = (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError, IndexError)


def dropout_reason(model: nn.Module) -> str | None:
    """Dropout draws anew for every row, so a prefix run once would not be the rows' own."""
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.training and module.p > 0:
            return "dropout is active"
    return None


def causality_reason(model: PreTrainedModel, ids: Sequence[int]) -> str | None:
    """Change a later token: the states before it must not move.

    Args:
        ids: at least two ids of ordinary text.
    """
    first, last = list(ids[:8]), ids[0]
    with torch.inference_mode():
        here = _logits_before_end(model, [*first, last])
        there = _logits_before_end(model, [*first, ids[-1] if ids[-1] != last else (last + 1) % model.config.vocab_size])
    if not torch.equal(here, there) and float((here - there).abs().max()) > SCORE_TOLERANCE[model.dtype] / 10:
        return "the model is not causal: earlier states change with later tokens"
    return None


def sharing_reason(model: PreTrainedModel, terminator_id: int) -> str | None:
    """Why no rows of this model may share a prefix, or None: both ways are tried on a few drawn tokens.

    A run asks again with its own rows and its own tuned part (`probe`).

    Args:
        terminator_id: id that ends every answer.
    """
    if reason := plain_by_design(model):
        return reason
    drawn = torch.randint(int(model.config.vocab_size), (8,), generator=torch.Generator().manual_seed(0)).tolist()
    answers = [(terminator_id, drawn[0])] * 2
    try:
        with torch.inference_mode():
            if reason := causality_reason(model, drawn):
                return reason
            rows = line_batch([drawn[3:], drawn[4:]], answers).to(model.device)
            shared = shared_pass(model, prefix_of(model, NO_VIRTUAL, drawn[:3]), rows).log_softmax(-1)
            whole = line_batch([drawn, [*drawn[:3], *drawn[4:]]], answers).to(model.device)
            gap = float((shared - plain_pass(model, NO_VIRTUAL, whole).log_softmax(-1)).abs().max())
            gap = max(gap, _gap_of_trees(model, drawn, terminator_id))
    except CANNOT_SHARE as error:
        return cannot_share(error)
    if not gap <= SCORE_TOLERANCE[model.dtype]:
        return f"shared and plain scores differ by {gap:.3g} nats"
    _fold_where_equal(model, prefix_of(model, NO_VIRTUAL, drawn[:3]), rows, shared)
    return None


def _gap_of_trees(model: PreTrainedModel, drawn: Sequence[int], terminator_id: int) -> float:
    """How far all answers in one pass are from one pass an answer (nats), for rows of uneven length.

    A model that counts distances by columns, as some with ALiBi do, agrees on lines but not on answers that stand behind pads.
    """
    other = (drawn[0] + 1) % int(model.config.vocab_size)
    trie = build_trie([Answer("0", "", (terminator_id, drawn[0])), Answer("1", "", (drawn[1], other))])
    prefix = prefix_of(model, NO_VIRTUAL, drawn[:3])
    tree = shared_pass(model, prefix, tree_batch([drawn[3:], drawn[5:]], trie).to(model.device)).log_softmax(-1)
    gaps = []
    for answer, path in zip(trie.answers, trie.steps, strict=True):
        whole = line_batch([drawn, [*drawn[:3], *drawn[5:]]], [answer.ids] * 2).to(model.device)
        alone = plain_pass(model, NO_VIRTUAL, whole).log_softmax(-1)
        places = [position for position, _ in path]
        gaps.append(float((tree.view(2, trie.num_positions, -1)[:, places].flatten(0, 1) - alone).abs().max()))
    return max(gaps)


def _fold_where_equal(model: PreTrainedModel, prefix: PrefixStates | None, rows: Batch, expected: Tensor) -> None:
    """Let this model read a prefix as it lies when that gives what it gives with the prefix copied to every row."""
    chosen = model.config._attn_implementation
    if prefix is None or not can_fold(model):
        return
    model.config._attn_implementation = NAME
    try:
        with torch.inference_mode():
            gap = float((folded_pass(model, prefix, rows).log_softmax(-1) - expected).abs().max())
    except CANNOT_SHARE:
        gap = math.inf
    if not gap <= SCORE_TOLERANCE[model.dtype] / 10:
        model.config._attn_implementation = chosen


def cannot_share(error: Exception) -> str:
    """The reason that a probe's own failure gives. Lack of memory is none: whole rows would need more of it."""
    if is_out_of_memory(error):
        raise error
    said = str(error).splitlines() or [""]
    return f"this model cannot read a shared prefix ({type(error).__name__}: {said[0][:120]})"


def _logits_before_end(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    logits: Tensor = model(inputs_embeds=embed(model, ids)[None], use_cache=False).logits
    return logits[0, :-1].float()

"""May the shared prefix be used with this model? Asked of the model itself at run time, never of its name."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from workers.engine.answers import build_trie
from workers.engine.backbone import Backbone
from workers.engine.batching import Batch, line_batch
from workers.engine.families import plain_by_design
from workers.engine.folded_attention import NAME, can_fold
from workers.engine.forward import folded_pass, plain_pass, shared_pass
from workers.engine.prefix import NO_VIRTUAL, PrefixStates, Virtual, embed, prefix_of
from workers.engine.scoring import Scorer, line_scores, shared_ids

# Largest allowed difference between the shared and the plain computation, by dtype: log-likelihoods in nats, and gradients
# as a share of their length. In bf16 both paths round differently at every layer.
SCORE_TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 1.0}
LOSS_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
GRADIENT_TOLERANCE = {torch.float32: 5e-3, torch.bfloat16: 0.3}
_PROBE_TOKENS = 32
_CANNOT = (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError, IndexError)


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


def sharing_reason(backbone: Backbone) -> str | None:
    """Why no rows of this model may share a prefix, or None: both ways are tried on a few drawn tokens.

    A run asks again with its own rows and its own tuned part (`scoring_reason`, `gradient_reason`).
    """
    model = backbone.model
    if reason := plain_by_design(model):
        return reason
    drawn = torch.randint(int(model.config.vocab_size), (8,), generator=torch.Generator().manual_seed(0)).tolist()
    answers = [(backbone.terminator_id, drawn[0])] * 2
    try:
        with torch.inference_mode():
            if reason := causality_reason(model, drawn):
                return reason
            rows = line_batch([drawn[3:], drawn[4:]], answers).to(backbone.device)
            shared = shared_pass(model, prefix_of(model, NO_VIRTUAL, drawn[:3]), rows).log_softmax(-1)
            whole = line_batch([drawn, [*drawn[:3], *drawn[4:]]], answers).to(backbone.device)
            gap = float((shared - plain_pass(model, NO_VIRTUAL, whole).log_softmax(-1)).abs().max())
    except _CANNOT as error:
        return _cannot(error)
    if not gap <= SCORE_TOLERANCE[backbone.dtype]:
        return f"shared and plain scores differ by {gap:.3g} nats"
    _fold_where_equal(model, prefix_of(model, NO_VIRTUAL, drawn[:3]), rows, shared)
    return None


def _fold_where_equal(model: PreTrainedModel, prefix: PrefixStates | None, rows: Batch, expected: Tensor) -> None:
    """Let this model read a prefix as it lies when that gives what it gives with the prefix copied to every row."""
    chosen = model.config._attn_implementation
    if prefix is None or not can_fold(model):
        return
    model.config._attn_implementation = NAME
    try:
        with torch.inference_mode():
            gap = float((folded_pass(model, prefix, rows).log_softmax(-1) - expected).abs().max())
    except _CANNOT:
        gap = math.inf
    if not gap <= SCORE_TOLERANCE[model.dtype] / 10:
        model.config._attn_implementation = chosen


def scoring_reason(scorer: Scorer, rows: Sequence[Sequence[int]]) -> str | None:
    """Why scoring must take whole sequences, or None: both ways are tried on the ends of two rows of this run.

    Args:
        scorer: the approach, free to share.
        rows: context ids.
    """
    model = scorer.backbone.model
    if reason := dropout_reason(model):
        return reason
    shared = len(shared_ids(rows))
    first = max(0, shared - _PROBE_TOKENS)
    few = [row[first : max(shared, len(row) - 1) + 1][: 2 * _PROBE_TOKENS] for row in (rows[0], rows[-1])]
    small = replace(scorer, trie=build_trie(scorer.trie.answers[:3]), on_rows=None)
    try:
        if reason := causality_reason(model, [*few[0], scorer.backbone.terminator_id]):
            return reason
        gap = (small.score(few).answers - replace(small, plain_reason="probe").score(few).answers).abs().max()
    except _CANNOT as error:
        return _cannot(error)
    if not float(gap) <= SCORE_TOLERANCE[scorer.backbone.dtype]:
        return f"shared and plain scores differ by {float(gap):.3g} nats"
    return None


def writing_reason(backbone: Backbone, virtual: Virtual, rows: Sequence[Sequence[int]]) -> str | None:
    """Why free answers must be written from whole sequences, or None: tried on the ends of two rows with a short answer.

    Args:
        virtual: the learned part in front of rows.
        rows: context ids.
    """
    if reason := dropout_reason(backbone.model):
        return reason
    few = [row[-_PROBE_TOKENS:] for row in (rows[0], rows[-1])]
    answers = [(row[-1], backbone.terminator_id) for row in few]
    try:
        if reason := causality_reason(backbone.model, [*few[0], backbone.terminator_id]):
            return reason
        shared, plain = (line_scores(backbone, virtual, few, answers, plain=way) for way in (False, True))
    except _CANNOT as error:
        return _cannot(error)
    gap = float((shared - plain).abs().max())
    return None if gap <= SCORE_TOLERANCE[backbone.dtype] else f"shared and plain scores differ by {gap:.3g} nats"


def _cannot(error: Exception) -> str:
    said = str(error).splitlines() or [""]
    return f"this model cannot read a shared prefix ({type(error).__name__}: {said[0][:120]})"


def gradient_reason(dtype: torch.dtype, shared: tuple[float, Sequence[Tensor]], plain: tuple[float, Sequence[Tensor]]) -> str | None:
    """Loss and gradient of one small batch must agree either way."""
    loss_gap = abs(shared[0] - plain[0]) / max(abs(plain[0]), 1e-6)
    if not loss_gap <= LOSS_TOLERANCE[dtype]:
        return f"shared and plain loss differ by {loss_gap:.2%}"
    ours, theirs = (torch.cat([g.flatten().float() for g in gradients]) for gradients in (shared[1], plain[1]))
    gap = float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))
    if not gap <= GRADIENT_TOLERANCE[dtype]:
        return f"shared and plain gradients differ by {gap:.2%}"
    return None


def _logits_before_end(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    logits: Tensor = model(inputs_embeds=embed(model, ids)[None], use_cache=False).logits
    return logits[0, :-1].float()

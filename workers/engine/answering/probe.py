"""May this run share a prefix, with its own rows and its own tuned part? Tried at run time, after `model_probe` has found nothing."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from workers.engine.answering.scoring import Scorer, line_scores, shared_ids
from workers.engine.model.backbone import Backbone
from workers.engine.model.model_probe import CANNOT_SHARE, SCORE_TOLERANCE, cannot_share, causality_reason, dropout_reason
from workers.engine.passes.answers import build_trie
from workers.engine.passes.prefix import Virtual

# Largest allowed difference between the shared and the plain computation, by dtype, as a share of the loss and of the gradient's length.
LOSS_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
GRADIENT_TOLERANCE = {torch.float32: 5e-3, torch.bfloat16: 0.3}
_PROBE_TOKENS = 32


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
    except CANNOT_SHARE as error:
        return cannot_share(error)
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
    except CANNOT_SHARE as error:
        return cannot_share(error)
    gap = float((shared - plain).abs().max())
    return None if gap <= SCORE_TOLERANCE[backbone.dtype] else f"shared and plain scores differ by {gap:.3g} nats"


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

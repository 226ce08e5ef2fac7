"""Forgetting: how well the model still predicts ordinary text that has nothing to do with the task. Knows no rows and no metric.

The text ships with the engine, written for it: letter, instructions, minutes, explanation, dialogue, notice, forecast.
"""

from functools import cache
from pathlib import Path

import torch

from workers.engine.answering.scoring import line_scores
from workers.engine.contract.outcome import Forgetting
from workers.engine.model.backbone import Backbone
from workers.engine.passes.prefix import NO_VIRTUAL, Virtual

_TEXT = Path(__file__).with_name("unrelated_text.txt")
_CHUNK = 128


@cache
def unrelated_text() -> str:
    """The fixed text."""
    return _TEXT.read_text(encoding="utf-8")


def unrelated_loss(backbone: Backbone, virtual: Virtual = NO_VIRTUAL) -> tuple[float, int]:
    """Mean loss a token on the fixed text, cut into chunks that each begin anew, and the number of tokens predicted.

    Args:
        virtual: the learned part in front of each chunk; adapters are active in the model's modules.
    Returns:
        (nats a token, tokens); the first token of a chunk is given, not predicted.
    """
    ids = backbone.tokenizer(unrelated_text(), add_special_tokens=False)["input_ids"]
    size = _chunk_size(backbone)
    chunks = [ids[at : at + size] for at in range(0, len(ids) - 1, size)]
    chunks = [chunk for chunk in chunks if len(chunk) > 1]
    contexts, rests = [[*backbone.start_ids, chunk[0]] for chunk in chunks], [chunk[1:] for chunk in chunks]
    found = line_scores(backbone, virtual, contexts, rests, plain=True)
    tokens = sum(map(len, rests))
    return -float(found.double().sum()) / tokens, tokens


def forgetting(backbone: Backbone, before: float, virtual: Virtual) -> Forgetting | None:
    """The losses before and after tuning, the tuned part in place now; None when it leaves no room for a chunk of the text."""
    if virtual.length + len(backbone.start_ids) + _chunk_size(backbone) > backbone.window:
        return None
    with torch.no_grad():
        after, tokens = unrelated_loss(backbone, virtual)
    return Forgetting(before, after, tokens)


def _chunk_size(backbone: Backbone) -> int:
    """The same before and after tuning, or the losses could not be compared: a quarter of a short window."""
    return max(2, min(_CHUNK, backbone.window // 4))

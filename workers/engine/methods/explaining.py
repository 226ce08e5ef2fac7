"""What a soft prompt has learned, as far as it can be told: words that its vectors are close to, how far they went, what each is worth.

Knows vectors and the scoring path; trains nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from workers.engine.answering.scoring import Scorer, line_scores
from workers.engine.contract.outcome import Progress, storable
from workers.engine.model.backbone import Backbone
from workers.engine.passes.prefix import Virtual
from workers.engine.prompts.frame import EncodedRow, Frame

NEAREST = 5
MOST_TOKENS = 256
_BLOCK = 8192
# Rows scored by an ablation: more learned tokens, fewer rows each.
_BUDGET = 16_384
_FEWEST_ROWS, _MOST_ROWS = 32, 256


def describe_vectors(backbone: Backbone, start: Tensor, learned: Tensor) -> dict[str, Any]:
    """Nearest words, norm and drift of each learned vector.

    Args:
        start, learned: [P, H] before and after training.
    Returns:
        mean_word_norm: of the vocabulary; tokens: per vector nearest [{text, similarity}] by cosine, norm, drift (distance from
        its start) and start_similarity (cosine with it). Only the first 256 are described.
    """
    start, learned = start.detach().float()[:MOST_TOKENS], learned.detach().float()[:MOST_TOKENS]
    table = backbone.model.get_input_embeddings().weight.detach()
    similarity, ids = _nearest(table, learned.to(table.device), len(backbone.tokenizer))
    with_start = torch.nn.functional.cosine_similarity(start, learned, dim=1)
    words = [[storable(str(backbone.tokenizer.decode([token]))) for token in row] for row in ids.tolist()]
    tokens = [
        {
            "nearest": [{"text": word, "similarity": round(close, 4)} for word, close in zip(near, closes, strict=True)],
            "norm": float(vector.norm()),
            "drift": float((vector - before).norm()),
            "start_similarity": float(alike),
        }
        for near, closes, vector, before, alike in zip(words, similarity.tolist(), learned, start, with_start, strict=True)
    ]
    norms = torch.cat([block.float().norm(dim=1) for block in table.split(_BLOCK)])
    return {"mean_word_norm": float(norms.mean()), "tokens": tokens}


def _nearest(table: Tensor, vectors: Tensor, words: int) -> tuple[Tensor, Tensor]:
    """[P, 5] cosine similarities and ids of the closest rows of the vocabulary, a block of it at a time."""
    unit = torch.nn.functional.normalize(vectors, dim=1)
    best = torch.full((len(vectors), 0), 0.0, device=vectors.device)
    ids = torch.zeros((len(vectors), 0), dtype=torch.long, device=vectors.device)
    for first in range(0, min(words, len(table)), _BLOCK):
        block = torch.nn.functional.normalize(table[first : min(first + _BLOCK, words)].float(), dim=1)
        best = torch.cat([best, unit @ block.T], dim=1)
        ids = torch.cat([ids, torch.arange(first, first + len(block), device=ids.device).expand(len(unit), -1)], dim=1)
        best, order = best.topk(min(NEAREST, best.shape[1]), dim=1)
        ids = ids.gather(1, order)
    return best.cpu(), ids.cpu()


def num_rows_for(tokens: int) -> int:
    """Rows that an ablation of so many learned tokens scores for each."""
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _BUDGET // max(1, tokens)))


def ablate(frame: Frame, virtual: Virtual, rows: Sequence[EncodedRow], plain: bool, tell: Callable[[Progress], None]) -> dict[str, Any]:
    """What each learned token is worth: it is taken out, the others close up, and the same rows are scored again.

    Args:
        virtual: the learned vectors [P, H], in place of or before the prompt's text.
        rows: encoded validation rows.
        plain: score whole sequences instead of sharing the prefix.
        tell: hears of each token; may raise to stop.
    Returns:
        rows, accuracy and loss with all tokens, and per token the changes without it: `lost` and `won` rows (right only with,
        and only without it), accuracy_change (their difference as a share of rows) and loss_change (nats a row). Free answers
        have no accuracy here; their loss is that of the reference.
    """
    assert virtual.vectors is not None, "only learned vectors can be taken out one by one"
    vectors = virtual.vectors
    whole_right, whole_loss = _quality(frame, virtual, rows, plain)
    tokens = []
    count = min(len(vectors), MOST_TOKENS)
    for place in range(count):
        tell(Progress("explaining", rows=place, rows_total=count))
        rest = torch.cat([vectors[:place], vectors[place + 1 :]])
        right, loss = _quality(frame, Virtual(vectors=rest if len(rest) else None), rows, plain)
        change: dict[str, Any] = {"loss_change": loss - whole_loss}
        if right is not None and whole_right is not None:
            lost, won = int((whole_right & ~right).sum()), int((right & ~whole_right).sum())
            change |= {"lost": lost, "won": won, "accuracy_change": (won - lost) / len(rows)}
        tokens.append(change)
    accuracy = None if whole_right is None else float(whole_right.float().mean())
    return {"rows": len(rows), "accuracy": accuracy, "loss": whole_loss, "tokens": tokens}


def _quality(frame: Frame, virtual: Virtual, rows: Sequence[EncodedRow], plain: bool) -> tuple[Tensor | None, float]:
    """[N] whether each row is right (None for free answers), and the mean loss of the expected answer."""
    contexts = [row.ids for row in rows]
    if frame.trie is None:
        answers = [frame.answer_ids(row.item.label) for row in rows]
        return None, -float(line_scores(frame.backbone, virtual, contexts, answers, plain=plain).mean())
    expected = torch.tensor([frame.spec.labels.index(row.item.label) for row in rows])
    found = Scorer(frame.backbone, frame.trie, virtual, "asked for" if plain else None).score(contexts).labels
    return found.argmax(1) == expected, -float(found.gather(1, expected[:, None]).mean())

"""Free answers: greedy generation for extraction, behind the same frame and the same shared prefix as scoring."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.engine.backbone import Backbone
from workers.engine.batching import buckets, line_batch
from workers.engine.frame import Frame
from workers.engine.outcome import Prediction
from workers.engine.predicting import blank_prediction
from workers.engine.prefix import NO_VIRTUAL, PrefixStates, Virtual, prefix_of
from workers.engine.scoring import shared_ids
from workers.engine.spec import Item

_MAX_ROWS = 32
_MAX_TOKENS = 4096


@dataclass(frozen=True)
class Generator:
    """Writes answers of at most `max_new_tokens` tokens, each until the terminator.

    Args:
        backbone: the frozen model; adapters, if any, are active in its modules.
        virtual: the learned part in front of rows.
        max_new_tokens: terminator not counted.
        on_rows: called with the number of rows done after each batch; may raise to stop.
    """

    backbone: Backbone
    max_new_tokens: int
    virtual: Virtual = NO_VIRTUAL
    on_rows: Callable[[int], None] | None = None

    def write(self, rows: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[float]]:
        """Ids of each row's answer without terminator, and each row's share of seconds."""
        written: list[list[int]] = [[] for _ in rows]
        seconds = [0.0] * len(rows)
        shared = shared_ids(rows)
        with torch.inference_mode():
            prefix = prefix_of(self.backbone.model, self.virtual, shared)
            done = 0
            for group in buckets([len(row) - len(shared) for row in rows], self.max_new_tokens, _MAX_TOKENS, _MAX_ROWS):
                started = time.perf_counter()
                answers = self._write_batch([rows[index][len(shared) :] for index in group], prefix)
                share = (time.perf_counter() - started) / len(group)
                for index, answer in zip(group, answers, strict=True):
                    written[index], seconds[index] = answer, share
                done += len(group)
                if self.on_rows:
                    self.on_rows(done)
        return written, seconds

    def _write_batch(self, rows: Sequence[Sequence[int]], prefix: PrefixStates | None) -> list[list[int]]:
        """Greedy decoding of right-padded rows: pads stay masked in the cache, new tokens take the row's next position."""
        model, device = self.backbone.model, self.backbone.device
        ahead = prefix.length if prefix else 0
        batch = line_batch(rows, [(self.backbone.terminator_id,)] * len(rows), step=1).to(device)
        lengths = torch.tensor(batch.lengths, device=device)
        width = batch.ids.shape[1]
        own = torch.arange(width, device=device)[None, :] < lengths[:, None]
        seen = torch.cat([own.new_ones(len(rows), ahead), own], dim=1)
        cache = (prefix or PrefixStates((), ())).growing_cache(len(rows))
        logits = model(
            input_ids=batch.ids,
            position_ids=batch.positions + ahead,
            attention_mask=seen.long(),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=batch.answer_at,
        ).logits
        written: list[list[int]] = [[] for _ in rows]
        open_rows = torch.ones(len(rows), dtype=torch.bool, device=device)
        for step in range(self.max_new_tokens + 1):
            chosen = logits.argmax(-1)
            open_rows &= chosen != self.backbone.terminator_id
            if step == self.max_new_tokens or not bool(open_rows.any()):
                break
            _append(written, chosen, open_rows)
            seen = torch.cat([seen, seen.new_ones(len(rows), 1)], dim=1)
            logits = model(
                input_ids=chosen[:, None],
                position_ids=(ahead + lengths + step)[:, None],
                attention_mask=seen.long(),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
        return written


def _append(written: list[list[int]], chosen: Tensor, open_rows: Tensor) -> None:
    for answer, token, is_open in zip(written, chosen.tolist(), open_rows.tolist(), strict=True):
        if is_open:
            answer.append(token)


def predict_texts(frame: Frame, generator: Generator, items: Sequence[Item]) -> list[Prediction]:
    """A free answer for every row, in the order of the rows; rows that cannot be run carry the reason."""
    encoded = frame.encode(items)
    usable = [row for row in encoded if row.error is None]
    answers, seconds = generator.write([row.ids for row in usable]) if usable else ([], [])
    predictions = []
    made = iter(zip(answers, seconds, strict=True))
    for row in encoded:
        prediction = blank_prediction(frame, generator.virtual.length, row)
        if row.error is None:
            ids, prediction.seconds = next(made)
            prediction.text = frame.tokenizer.decode(ids, skip_special_tokens=True).strip()
            prediction.predicted = prediction.text
            prediction.completion_tokens = len(ids) + 1
            prediction.computed_tokens = len(row.ids) + len(ids)
        predictions.append(prediction)
    return predictions

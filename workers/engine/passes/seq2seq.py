"""Encoder-decoder models (T5): the encoder reads each row once, the decoder reads its answers. Plain path only.

The encoder sees a row both ways, so rows share no prefix. Learned vectors stand in front of the encoder's text; learned keys and
values stand in front of the decoder's answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from workers.engine.passes.batching import Batch
from workers.engine.passes.prefix import PrefixStates, Virtual


@dataclass(frozen=True)
class ReadRows:
    """B rows after the encoder.

    Args:
        states: [B, T, H] what the decoder looks at.
        own: [B, T] bool, False where a position is a pad.
        before: learned keys and values in front of the answer, or None.
    """

    states: Tensor
    own: Tensor
    before: PrefixStates | None


def read_rows(model: PreTrainedModel, virtual: Virtual, rows: Sequence[Sequence[int]]) -> ReadRows:
    """Run the encoder once over rows, each closed by the end token as in the model's own training.

    Args:
        rows: context ids of each row without virtual tokens.
    """
    device = model.get_input_embeddings().weight.device
    closed = [[*row, int(model.config.eos_token_id)] for row in rows]
    ids, own = _padded(closed, device)
    inputs = model.get_input_embeddings()(ids)
    if virtual.vectors is not None:
        inputs = torch.cat([virtual.vectors.to(inputs.dtype).expand(len(rows), -1, -1), inputs], dim=1)
        own = torch.cat([own.new_ones(len(rows), virtual.vectors.shape[0]), own], dim=1)
    states = model.get_encoder()(inputs_embeds=inputs, attention_mask=own.long()).last_hidden_state
    return ReadRows(states, own, virtual.states)


def answer_logits(model: PreTrainedModel, read: ReadRows, answers: Sequence[Sequence[int]]) -> Tensor:
    """Logits that predict each token of one answer a row.

    Args:
        answers: ids of each row's answer, terminator included.
    Returns:
        [A, V] in row-major order, A the tokens of all answers.
    """
    start = model.config.decoder_start_token_id
    asked, own = _padded([[start, *answer[:-1]] for answer in answers], read.states.device)
    cache = EncoderDecoderCache(read.before.growing_cache(len(answers)), DynamicCache()) if read.before else None
    logits: Tensor = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=read.states),
        attention_mask=read.own.long(),
        decoder_input_ids=asked,
        past_key_values=cache,
        use_cache=cache is not None,
    ).logits
    return logits[own]


def encoder_decoder_pass(model: PreTrainedModel, virtual: Virtual, batch: Batch) -> Tensor:
    """`forward.plain_pass` for an encoder-decoder model: rows to the encoder, their answers to the decoder."""
    ends = batch.answer_at.int().argmax(1).tolist()
    rows = [ids[: end + 1] for ids, end in zip(batch.ids.tolist(), ends, strict=True)]
    answers = torch.split(batch.targets, batch.answer_at.sum(1).tolist())
    return answer_logits(model, read_rows(model, virtual, rows), [answer.tolist() for answer in answers])


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """[B, T] ids with zeros on the right, and [B, T] bool that is False there."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    own = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
    return ids.to(device), own.to(device)

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AttentionInterface, BertConfig, BertLMHeadModel, BertModel, PreTrainedTokenizerFast

from workers.starter import backbone, batches, graft, train
from workers.starter.episodes import EpisodeSource
from workers.starter.helping import Readers

SIZES = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}


def write_encoder(folder: Path, tokenizer: PreTrainedTokenizerFast, blocks: int) -> BertModel:
    """An encoder as sentence-transformers stores it, with a word that the decoder does not keep."""
    words = ["unused", *tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    config = BertConfig(vocab_size=len(words), num_hidden_layers=blocks, max_position_embeddings=512, **SIZES)
    encoder = BertModel(config)
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    save_file({name: weight.contiguous() for name, weight in encoder.state_dict().items()}, str(folder / "model.safetensors"))
    return encoder


@pytest.mark.slow
def test_the_encoder_stands_below_the_top_of_the_earlier_model_and_learns_its_states(
    source: EpisodeSource, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    AttentionInterface.register("short", train.short_attention)
    torch.manual_seed(0)
    encoder = write_encoder(tmp_path / "encoder", tokenizer, blocks=3)
    config = BertConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=4,
        is_decoder=True,
        max_position_embeddings=backbone.WINDOW,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
        **SIZES,
    )
    previous = BertLMHeadModel(config)

    model = backbone.grafted(tmp_path / "encoder", previous, tokenizer, graft.TOP)

    assert len(model.bert.encoder.layer) == 3 + graft.TOP
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, encoder.embeddings.word_embeddings.weight[1:])
    for place, of in ((0, encoder.encoder.layer[0]), (2, encoder.encoder.layer[2]), (3, previous.bert.encoder.layer[2])):
        assert torch.equal(model.bert.encoder.layer[place].output.dense.weight, of.output.dense.weight)

    for each in (model, previous):
        each.set_attn_implementation("short")
    readers = Readers(model.bert.embeddings.word_embeddings.weight, torch.from_numpy(source.bank.meanings()[1]), 0)
    batch = next(batches.batches(source.draw, tokenizer, random.Random(0), source.bank.meanings()[0]))
    optimizer = torch.optim.AdamW([*model.parameters(), *readers.parameters()], lr=graft.RATE)
    losses = []
    for _ in range(12):
        losses.append(graft.loss_of(model, previous, readers, batch))
        optimizer.zero_grad()
        torch.autograd.backward(losses[-1])
        optimizer.step()
    assert losses[-1].item() < 0.8 * losses[0].item()
    assert len(model.bert.encoder.layer) == 3 + graft.TOP

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer, BertConfig, BertLMHeadModel, PreTrainedTokenizerFast

from workers.starter import backbone, batches, train
from workers.starter.episodes import EpisodeSource


@pytest.fixture
def trainer(tokenizer: PreTrainedTokenizerFast, source: EpisodeSource) -> train.Trainer:
    AttentionInterface.register("short", train.short_attention)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        num_hidden_layers=train.MEANING_LAYER + 1,
        num_attention_heads=12,
        intermediate_size=64,
        max_position_embeddings=backbone.WINDOW,
        is_decoder=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return train.Trainer(BertLMHeadModel(config), torch.from_numpy(source.bank.meanings()[1]), torch.float32, peak_rate=5e-3)


@pytest.mark.parametrize("length", [24, train.SHORT + 8])
def test_both_ways_of_attention_are_plain_causal_attention(length: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 8) for _ in range(3))
    got, _ = train.short_attention(torch.nn.Identity(), query, key, value)
    scores = (query @ key.transpose(2, 3) / 8**0.5).masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
    assert torch.allclose(got, (scores.softmax(-1) @ value).transpose(1, 2), atol=1e-5)


def test_the_rate_rises_then_falls_to_its_floor_at_the_end_of_the_time() -> None:
    rates = [train.rate_share(progress / 100) for progress in range(101)]
    peak = rates.index(max(rates))
    assert rates[0] == 0.0
    assert rates[peak] == pytest.approx(1.0)
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(train.FLOOR)


@pytest.mark.slow
def test_updates_lower_the_loss_and_the_saved_folder_is_the_average(
    trainer: train.Trainer, source: EpisodeSource, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_TOKENS", 512)
    stream = batches.batches(source.draw, tokenizer, random.Random(0), source.bank.meanings()[0])
    batch = next(batch for batch in stream if batch.ids.shape[1] <= 256)
    figures = []
    sizes = train.sizes_of([batch])
    for _ in range(12):
        figures.append(trainer.gradients(batch, sizes))
        trainer.update(1.0)
    for name, first, last in zip(("loss", "right", "meaning", "pointing", "copying", "remembering"), figures[0], figures[-1], strict=True):
        assert last > first if name == "right" else last < 0.8 * first, name
    for _ in range(2):  # the second time it replaces the first
        train.write_folder(tmp_path / "out", trainer, tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    saved = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "out").named_parameters())
    for name, weight in trainer.averaged().items():
        assert torch.equal(saved[name], weight.to(torch.bfloat16)), name
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("a")["input_ids"] == tokenizer("a")["input_ids"]

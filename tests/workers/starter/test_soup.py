from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, PreTrainedTokenizerFast

from workers.starter import backbone, soup


def test_the_saved_folder_holds_the_mean_of_the_weights(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, is_decoder=True
    )
    folders = [tmp_path / str(value) for value in (1, 2, 6)]
    for value, folder in zip((1.0, 2.0, 6.0), folders, strict=True):
        model = BertLMHeadModel(config)
        torch.nn.init.constant_(model.bert.encoder.layer[0].output.dense.weight, value)
        backbone.save(folder, model, tokenizer)
    monkeypatch.setattr(sys, "argv", ["soup", *map(str, folders), "--out", str(tmp_path / "mean")])

    soup.main()

    mean = BertLMHeadModel.from_pretrained(tmp_path / "mean")
    assert torch.equal(mean.bert.encoder.layer[0].output.dense.weight, torch.full((16, 16), 3.0, dtype=mean.dtype))
    assert len(PreTrainedTokenizerFast.from_pretrained(tmp_path / "mean")) == len(tokenizer)

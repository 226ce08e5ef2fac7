"""Turns the MiniLM encoder into a small decoder-only language model with a pruned vocabulary, and saves it.

Knows the tokenizer, the architecture and the folder's files; must not know training data or prompts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, GenerationConfig, PreTrainedTokenizerFast

WINDOW = 1024
VOCABULARY = 24_000
START, END, PADDING, UNKNOWN = "[CLS]", "[SEP]", "[PAD]", "[UNK]"
_SPECIAL = (PADDING, UNKNOWN, START, END)


def _word_pieces(words: list[str]) -> Tokenizer:
    """A lower-casing WordPiece tokenizer that puts the start token in front and nothing behind."""
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", pair=f"{START} $A $B", special_tokens=[(START, vocabulary[START])]
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def pruned_words(full: list[str], texts: Iterable[str], size: int = VOCABULARY) -> list[str]:
    """Special tokens, every wordpiece that occurs in the texts, then the commonest of the rest up to size."""
    counts: Counter[int] = Counter()
    tokenizer = _word_pieces(full)
    batch = list(texts)
    for start in range(0, len(batch), 2000):
        for encoding in tokenizer.encode_batch(batch[start : start + 2000], add_special_tokens=False):
            counts.update(encoding.ids)
    usable = [i for i, word in enumerate(full) if word not in _SPECIAL and word.isascii() and not _reserved(word)]
    by_need = sorted(usable, key=lambda i: (-min(counts[i], 2), len(full[i]) > 1, i))
    kept = sorted(by_need[: size - len(_SPECIAL)])
    return [*_SPECIAL, *(full[i] for i in kept)]


def _reserved(word: str) -> bool:
    return word.startswith("[") and word.endswith("]") and len(word) > 1


def build_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=_word_pieces(words),
        bos_token=START,
        eos_token=END,
        pad_token=PADDING,
        unk_token=UNKNOWN,
        model_max_length=WINDOW,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )


def _config(tokenizer: PreTrainedTokenizerFast, source: dict[str, int]) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=source["hidden_size"],
        num_hidden_layers=source["num_hidden_layers"],
        num_attention_heads=source["num_attention_heads"],
        intermediate_size=source["intermediate_size"],
        max_position_embeddings=WINDOW,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=source["layer_norm_eps"],
        is_decoder=True,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def from_minilm(folder: Path, texts: Iterable[str]) -> tuple[BertLMHeadModel, PreTrainedTokenizerFast]:
    """The encoder's weights in a decoder; positions past its own 512 start as copies of the first ones."""
    words = pruned_words(_vocabulary(folder), texts)
    tokenizer = build_tokenizer(words)
    model = BertLMHeadModel(_config(tokenizer, json.loads((folder / "config.json").read_text())))
    _load_encoder(model, folder, words)
    _start_head_near_identity(model)
    return model, tokenizer


def grafted(folder: Path, previous: BertLMHeadModel, tokenizer: PreTrainedTokenizerFast, top: int) -> BertLMHeadModel:
    """The encoder's weights below the `top` last blocks and the head of an earlier model."""
    trunk = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    model = BertLMHeadModel(BertConfig.from_dict(previous.config.to_dict() | {"num_hidden_layers": trunk + top}))
    _load_encoder(model, folder, tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    for new, old in zip(model.bert.encoder.layer[trunk:], previous.bert.encoder.layer[-top:], strict=True):
        new.load_state_dict(old.state_dict())
    model.cls.predictions.transform.load_state_dict(previous.cls.predictions.transform.state_dict())
    return model


def _vocabulary(folder: Path) -> list[str]:
    return (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()


def _load_encoder(model: BertLMHeadModel, folder: Path, words: list[str]) -> None:
    weights = load_file(folder / "model.safetensors")
    weights = {name.removeprefix("bert."): weight for name, weight in weights.items() if "pooler" not in name}
    row_of = {word: row for row, word in enumerate(_vocabulary(folder))}
    embeddings = "embeddings.word_embeddings.weight"
    weights[embeddings] = weights[embeddings][torch.tensor([row_of[word] for word in words])]
    positions = "embeddings.position_embeddings.weight"
    weights[positions] = torch.cat([weights[positions], weights[positions]])[:WINDOW]
    expected = model.bert.state_dict().keys()
    found = model.bert.load_state_dict({name: weight for name, weight in weights.items() if name in expected}, strict=False)
    assert all(name.startswith("encoder.layer.") for name in found.missing_keys), found.missing_keys


def _start_head_near_identity(model: BertLMHeadModel) -> None:
    """The encoder has no language-model head; its new square layer starts by passing states through."""
    dense: nn.Linear = model.cls.predictions.transform.dense
    with torch.no_grad():
        dense.weight.normal_(0.0, 0.01).add_(torch.eye(dense.in_features))


def save(folder: Path, model: BertLMHeadModel, tokenizer: PreTrainedTokenizerFast, weights: dict[str, Tensor] | None = None) -> None:
    """Writes config, tokenizer and bf16 weights; weights overrides the model's own (averages, say)."""
    shell = BertLMHeadModel(model.config)
    with torch.no_grad():
        for name, parameter in shell.named_parameters():
            parameter.copy_((weights or model.state_dict())[name])
    shell.to(torch.bfloat16)
    shell.config.use_cache = True
    shell.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=24,
        do_sample=False,
    )
    shell.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _name_tokenizer_class(folder / "tokenizer_config.json")


def _name_tokenizer_class(file: Path) -> None:
    """Writes the class name that transformers 4 and 5 both know; 5 would write a name that 4 cannot load."""
    settings = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

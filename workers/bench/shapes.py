"""Models and texts that are made on the spot: the shapes of two small models with drawn weights, and a BPE trained on drawn words.

Drawn weights give speed, not quality. Nothing is downloaded.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

_SEED = 20
_WORDS = 600
_END = "<end>"


@dataclass(frozen=True)
class Shape:
    """A model by its sizes.

    Args:
        name: how reports call it.
        kind: its family for transformers.
        sizes: configuration values.
    """

    name: str
    kind: str
    sizes: dict[str, Any]

    @property
    def body(self) -> float:
        """Weights that every token passes through, embeddings left out."""
        hidden, inner, layers = (self.sizes[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
        narrow = hidden * self.sizes["num_key_value_heads"] // self.sizes["num_attention_heads"]
        return float(layers * (2 * hidden * hidden + 2 * hidden * narrow + 3 * hidden * inner))

    def forward_flop(self, tokens: float, pairs: float, heads: float) -> float:
        """Floating-point operations of a forward pass.

        Args:
            tokens: positions run through the blocks.
            pairs: query-key pairs of the attention.
            heads: positions projected onto the vocabulary.
        """
        hidden = self.sizes["hidden_size"]
        attention = 4.0 * self.sizes["num_hidden_layers"] * hidden
        return float(2 * self.body * tokens + attention * pairs + 2.0 * self.sizes["vocab_size"] * hidden * heads)


_LLAMA = {"rope_theta": 100000.0, "max_position_embeddings": 2048, "tie_word_embeddings": True}
_QWEN = {"rope_theta": 1000000.0, "max_position_embeddings": 4096, "tie_word_embeddings": True}

SMOL_135M = Shape(
    "SmolLM2-135M shape",
    "llama",
    _LLAMA
    | {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
)
QWEN_500M = Shape(
    "Qwen2.5-0.5B shape",
    "qwen2",
    _QWEN
    | {
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
)
SMALL = Shape(
    "small shape",
    "llama",
    _LLAMA
    | {
        "vocab_size": 4096,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
    },
)
SHAPES = {shape.name: shape for shape in (SMOL_135M, QWEN_500M, SMALL)}


def write_model(folder: Path, shape: Shape, dtype: torch.dtype) -> Path:
    """An ordinary model folder of this shape, with drawn weights and a tokenizer trained in place; the same one each time."""
    tokenizer = make_tokenizer()
    torch.manual_seed(_SEED)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model(shape.kind, **shape.sizes, **ids)
    AutoModelForCausalLM.from_config(config, dtype=dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE, trained on the words that texts are made of."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2048, special_tokens=[_END], initial_alphabet=alphabet, show_progress=False)
    drawn = random.Random(_SEED)
    tokenizer.train_from_iterator([text(drawn, 40) for _ in range(400)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=_END, pad_token=_END)


def text(drawn: random.Random, words: int) -> str:
    """A text of drawn words, each of them a token or two."""
    return " ".join(drawn.choice(_VOCABULARY) for _ in range(words))


def _vocabulary() -> list[str]:
    drawn = random.Random(_SEED)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstv" for vowel in "aeiou"]
    return ["".join(drawn.choices(syllables, k=drawn.choice((2, 3)))) for _ in range(_WORDS)]


_VOCABULARY = _vocabulary()

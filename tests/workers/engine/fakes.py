"""Tiny random models and a small tokenizer, built in memory: no download, no GPU, a fraction of a second."""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerFast

from tests.workers.engine.families import FAMILIES as ROWS
from workers.engine.contract.recipes import METHODS
from workers.engine.contract.spec import BackboneRef, EvaluateOn, FileRef, Item, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.model.backbone import Backbone, assemble_backbone
from workers.engine.passes.answers import AnswerTrie
from workers.engine.prompts.frame import Frame
from workers.engine.run import Run

FAMILIES = ("llama", "qwen2", "gpt2", "bert")
# The ways of tuning that most people use; fast tests try these on every family and each other way on one.
USUAL_WAYS = ("prompt_tuning", "lora")
LABELS = ("card", "card order", "cash", "transfer")
_TEXT = (
    "Sort the message into card, card order, cash or transfer. Message: my card has not come yet Queue: card order",
    "Message: the machine kept my cash and I am angry Queue: cash Message: I sent money and it is pending Queue: transfer",
    "please tell me where the new card is, I paid with it twice and the transfer to my sister never came back to me",
)


def cells(ways: Iterable[str]) -> Any:
    """Parameters `way` and `family`: every pair, those that the fast suite leaves to CI marked slow."""
    pairs = [(way, family, at % len(FAMILIES)) for at, way in enumerate(ways) for family in FAMILIES]
    return pytest.mark.parametrize(
        ("way", "family"),
        [
            pytest.param(way, family, marks=() if way in USUAL_WAYS or FAMILIES[place] == family else pytest.mark.slow)
            for way, family, place in pairs
        ],
    )


def each_way(ways: Iterable[str]) -> Any:
    """Parameter `way`: all of them, those that few people use marked slow."""
    return pytest.mark.parametrize("way", [pytest.param(way, marks=() if way in USUAL_WAYS else pytest.mark.slow) for way in ways])


@cache
def make_tokenizer(start: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE that merges a space into the word after it, as most real ones do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_TEXT * 4, trainer)
    if start:
        from tokenizers.processors import TemplateProcessing

        tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def make_model(family: str, vocabulary: int, seed: int = 0, **overrides: Any) -> PreTrainedModel:
    """Two layers, 32 wide, weights large enough that scores differ."""
    torch.manual_seed(seed)
    row = ROWS[family]
    shared = {"vocab_size": vocabulary, "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config = AutoConfig.for_model(row.kind or family, **{**shared, **row.sizes, **overrides})
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model: PreTrainedModel = kind.from_config(
        config, attn_implementation="sdpa" if kind._model_mapping[type(config)]._supports_sdpa else "eager"
    )
    return model


def make_backbone(family: str = "llama", start: bool = False, dtype: torch.dtype = torch.float32, **overrides: Any) -> Backbone:
    """A frozen tiny model in memory."""
    tokenizer = make_tokenizer(start)
    model = make_model(family, len(tokenizer), **overrides).to(dtype)
    return assemble_backbone(BackboneRef(f"tiny-{family}"), model, tokenizer)


def save_model(folder: Path, family: str = "llama", **overrides: Any) -> Path:
    """A tiny model as an ordinary folder."""
    tokenizer = make_tokenizer()
    make_model(family, len(tokenizer), **overrides).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_items(n: int = 12) -> list[Item]:
    """Rows of uneven length whose label can be read off their words."""
    starts = {
        "card": "my card does not work",
        "card order": "where is the new card that I ordered",
        "cash": "the machine kept my cash",
        "transfer": "I sent money to my sister and it is pending",
    }
    items = []
    for index in range(n):
        label = LABELS[index % len(LABELS)]
        text = starts[label] + " please" * (index % 5) + f" {index}"
        items.append(Item(f"row-{index}", {"text": text}, label))
    return items


def write_rows(path: Path, items: Iterable[Item]) -> FileRef:
    """Rows as JSONL."""
    lines = (json.dumps({"id": item.id, "fields": dict(item.fields), "label": item.label}) for item in items)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return FileRef(str(path))


TEMPLATE = TemplateSpec(system="Sort the message into card, cash or transfer.", user="Message: {{text}}\n", answer_cue="Queue:")


def make_spec(**overrides: Any) -> RunSpec:
    """A small hard-prompt classification over no file; override what the test is about."""
    values: dict[str, Any] = {
        "id": "test",
        "backbone": BackboneRef("tiny"),
        "template": TEMPLATE,
        "labels": LABELS,
        "evaluate": (EvaluateOn("test", FileRef("none.jsonl")),),
    }
    return RunSpec(**(values | overrides))


def make_frame(backbone: Backbone, replaced: bool = False, reserved: int = 0, **overrides: Any) -> Frame:
    """A frame around rows on a tiny model."""
    return Frame(make_spec(**overrides), backbone, reserved, replaced)


def trie_of(frame: Frame) -> AnswerTrie:
    """The answers of a frame that classifies."""
    assert frame.trie is not None
    return frame.trie


QUICK = {"max_steps": 6, "batch_size": 4, "warmup_steps": 1, "evaluate_every": 3, "patience": 0}


def make_run(tmp_path: Path, backbone: Backbone, method: str = "hard_prompt", rows: int = 12, **overrides: Any) -> Run:
    """A whole run in a temporary folder, on a tiny model in memory."""
    options = overrides.pop("options", {})
    if METHODS[method].family == "tuned":
        options = {**QUICK, **options}
    tmp_path.mkdir(parents=True, exist_ok=True)
    data = write_rows(tmp_path / "rows.jsonl", make_items(rows))
    run_hooks = {name: overrides.pop(name) for name in ("on_progress", "should_stop") if name in overrides}
    values = {"recipe": Recipe(method, options), "train": data, "validation": data, "evaluate": (EvaluateOn("test", data),)}
    spec = make_spec(**(values | overrides))
    return Run(spec, tmp_path / "out", provide=lambda ref: backbone, **run_hooks)

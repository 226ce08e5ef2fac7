"""The committed model folder, as a user without this repository's code meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, BertLMHeadModel, PreTrainedTokenizerFast

from workers.starter import backbone, evaluation_tasks, scoring

MODEL = Path(evaluation_tasks.__file__).parent / "model"
OPTIONS = ("travel", "cooking", "money", "sports", "health", "weather")
ROWS = [
    ("we flew to lisbon and stayed in a small hotel", "travel"),
    ("which train takes me to the airport", "travel"),
    ("i need a visa and a plane ticket for my trip", "travel"),
    ("chop the onions and fry them in olive oil", "cooking"),
    ("how long do i have to bake this bread", "cooking"),
    ("add some salt and pepper to the soup", "cooking"),
    ("my bank charged me for the transfer", "money"),
    ("how much interest do i pay on my loan", "money"),
    ("she paid off her credit card debt", "money"),
    ("the striker scored two goals in the final match", "sports"),
    ("our team won the basketball game", "sports"),
    ("he trained hard for the tennis tournament", "sports"),
    ("the doctor gave me pills for my headache", "health"),
    ("she has a fever and a sore throat", "health"),
    ("the nurse checked his blood pressure", "health"),
    ("will it rain tomorrow morning", "weather"),
    ("it was a sunny day with a light wind", "weather"),
    ("heavy snow is expected in the mountains", "weather"),
]


def load() -> BertLMHeadModel:
    """The model in fp32: the stored bf16 is emulated, and slow, on processors without it."""
    model: BertLMHeadModel = AutoModelForCausalLM.from_pretrained(MODEL, local_files_only=True, dtype=torch.float32).eval()
    return model


@pytest.fixture(scope="module")
def model() -> BertLMHeadModel:
    return load()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(MODEL, local_files_only=True)


def _prompt(text: str) -> str:
    return f"What is this sentence about?\nTopics: {', '.join(OPTIONS)}\nSentence: {text}\nTopic:"


def test_the_folder_holds_bf16_weights_of_at_most_60_megabytes_and_no_code() -> None:
    weights = MODEL / "model.safetensors"
    assert weights.stat().st_size <= 60_000_000
    with safe_open(weights, "pt") as tensors:
        assert {tensors.get_tensor(name).dtype for name in tensors.keys()} == {torch.bfloat16}  # noqa: SIM118 (no dict)
    assert not [file.name for file in MODEL.iterdir() if file.suffix not in {".json", ".safetensors"}]


def test_the_start_token_stands_in_front_and_nothing_behind(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("My Card is lost, card_payment!")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "my card is lost, card _ payment!"
    assert {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id} == {0, 2, 3}


def test_the_declared_window_is_the_trained_window_and_is_usable(model: BertLMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    assert model.config.max_position_embeddings == tokenizer.model_max_length == backbone.WINDOW >= 512
    with torch.inference_mode():
        logits = model(input_ids=torch.full((1, backbone.WINDOW), 10), logits_to_keep=1).logits
    assert bool(torch.isfinite(logits).all())


def test_the_model_is_causal_and_its_head_is_tied(model: BertLMHeadModel) -> None:
    ids = torch.randint(10, 2000, (1, 40), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, 30] = 5
    with torch.inference_mode():
        first, second = model(input_ids=ids).logits, model(input_ids=other).logits
    assert torch.equal(first[:, :30], second[:, :30])
    assert not torch.equal(first[:, 30:], second[:, 30:])
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert 12e6 <= sum(parameter.numel() for parameter in model.parameters()) <= 25e6


def test_it_answers_with_one_of_the_options_and_stops(model: BertLMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    inputs = tokenizer(_prompt("our team won the basketball game"), return_tensors="pt")
    said = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
    assert int(said[-1]) == tokenizer.eos_token_id
    assert tokenizer.decode(said, skip_special_tokens=True).strip() in OPTIONS


def test_it_answers_most_of_a_few_plain_sentences_rightly(model: BertLMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    chosen = scoring.choices(model, tokenizer, [_prompt(text) for text, _ in ROWS], [OPTIONS] * len(ROWS))
    hits = sum(said == right for said, (_, right) in zip(chosen, ROWS, strict=True))
    assert hits >= 11, chosen  # chance is 3 of 18


@pytest.mark.parametrize(
    "config",
    [
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=100),
        PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=8, encoder_hidden_size=32),
        PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=8),
        LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["query", "key", "value", "dense"]),
        IA3Config(task_type="CAUSAL_LM"),
    ],
    ids=lambda config: config.peft_type.value.lower(),
)
def test_every_peft_method_learns_and_generates(config: PeftConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    tuned = get_peft_model(load(), config)
    inputs = tokenizer(_prompt("will it rain tomorrow") + " weather", return_tensors="pt")
    tuned(**inputs, labels=inputs["input_ids"]).loss.backward()
    trained = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    assert any(parameter.grad is not None and bool(parameter.grad.abs().sum() > 0) for parameter in trained)
    asked = tokenizer(_prompt("will it rain tomorrow"), return_tensors="pt")
    assert tuned.eval().generate(**asked, max_new_tokens=3).shape[1] >= 1

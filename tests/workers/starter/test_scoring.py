from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, PreTrainedTokenizerFast

from workers.starter import scoring


@pytest.fixture
def model() -> BertLMHeadModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=128, is_decoder=True, pad_token_id=0, initializer_range=0.4,
    )  # fmt: skip
    return BertLMHeadModel(config).eval()


def _plain_score(model: BertLMHeadModel, prompt: list[int], tail: list[int]) -> float:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt + tail])).logits[0].log_softmax(-1)
    return float(sum(logits[len(prompt) - 1 + i, token] for i, token in enumerate(tail)))


def test_all_labels_in_one_pass_score_as_each_label_alone(model: BertLMHeadModel) -> None:
    prompts = [[2, 10, 11, 12], [2, 20]]
    tails = [[[30, 3], [31, 32, 33, 3], [30, 34, 3]], [[40, 41, 3], [3], [42, 3]]]
    got = scoring.label_scores(model, prompts, tails)
    for prompt, group, scores in zip(prompts, tails, got, strict=True):
        assert scores == pytest.approx([_plain_score(model, prompt, tail) for tail in group], abs=1e-4)


def test_what_stands_in_front_may_be_computed_once(model: BertLMHeadModel) -> None:
    shown, prompts = [2, 50, 51, 52, 53], [[10, 11, 12], [20]]
    tails = [[[30, 3], [31, 32, 3]], [[40, 41, 3], [42, 3]]]
    front = scoring.front_of_tokens(model, shown)
    got = scoring.label_scores(model, prompts, tails, front=front)
    for prompt, group, scores in zip(prompts, tails, got, strict=True):
        assert scores == pytest.approx([_plain_score(model, shown + prompt, tail) for tail in group], abs=1e-4)
    vectors = model.get_input_embeddings()(torch.tensor(shown))
    again = scoring.label_scores(model, prompts, tails, front=scoring.front_of_vectors(model, vectors))
    assert again == [pytest.approx(scores, abs=1e-4) for scores in got]


def test_what_all_prompts_begin_with_is_computed_once_without_a_change(model: BertLMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = [[2, 10, 11, 12], [2, 10, 11, 13, 14], [2, 10, 11]]
    assert scoring.shared_tokens(encoded) == 2
    assert scoring.shared_tokens([[2, 10]]) == 1
    assert scoring.shared_tokens([[5], [6, 7]]) == 0
    labels = ["x", "y z", "q"]
    shown = [2, 50, 51]
    chosen = scoring.choices_of_tokens(model, tokenizer, encoded, [labels] * 3, front=scoring.front_of_tokens(model, shown))
    tails = scoring.label_tokens(tokenizer, labels)
    for ids, name in zip(encoded, chosen, strict=True):
        scores = [_plain_score(model, shown + ids, tail) for tail in tails]
        assert name == labels[scores.index(max(scores))]


def test_the_label_with_the_highest_score_is_chosen(model: BertLMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    prompts, labels = ["a b c", "d e f g h"], [["x", "y z", "q"], ["k", "x"]]
    chosen = scoring.choices(model, tokenizer, prompts, labels)
    for text, names, name in zip(prompts, labels, chosen, strict=True):
        tails = scoring.label_tokens(tokenizer, names)
        scores = [_plain_score(model, tokenizer(text)["input_ids"], tail) for tail in tails]
        assert name == names[scores.index(max(scores))]

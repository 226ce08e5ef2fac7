"""Known traps of the libraries, a test each.

Traps of padding stand in test_scoring, of start texts and of P-tuning's file in test_tuning, of word borders in test_frame.
"""

import pytest
import torch
from peft import IA3Config, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from tests.workers.engine.answering.test_scoring import plain_reference
from tests.workers.engine.fakes import make_backbone, make_frame, make_items, make_model, make_run, make_tokenizer, trie_of
from workers.engine.answering.generation import Generator
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.spec import BackboneRef
from workers.engine.execute import execute
from workers.engine.model.backbone import Backbone, assemble_backbone
from workers.engine.passes.batching import line_batch
from workers.engine.passes.forward import shared_pass
from workers.engine.passes.prefix import NO_VIRTUAL, prefix_of

IGNORES_NAMES = {
    "prompt": lambda: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "prefix": lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "p_tuning": lambda: PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=8),
    "ia3": lambda: IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
}


@pytest.mark.parametrize("kind", IGNORES_NAMES)
def test_peft_answers_every_row_with_one_adapter_whatever_names_the_rows_carry(kind):
    """Why rows of several tuned prompts are never handed to PEFT with `adapter_names`: it takes them without a word."""
    model = get_peft_model(make_model("llama", 420), IGNORES_NAMES[kind](), adapter_name="one")
    model.add_adapter("two", IGNORES_NAMES[kind]())
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".two" in name:
                parameter.copy_(torch.randn_like(parameter))
    ids = torch.tensor([[5, 6, 7], [5, 6, 7]])

    def answers(adapter, **more):
        model.set_adapter(adapter)
        with torch.no_grad():
            return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), **more).logits

    assert not torch.allclose(answers("one"), answers("two"), atol=1e-3), "the two adapters say the same, so the test shows nothing"
    named = answers("one", adapter_names=["one", "two"])
    assert torch.allclose(named[0], named[1], atol=1e-6)


def test_a_pass_over_rows_leaves_the_states_of_their_prefix_as_they_were():
    """A cache that is read by many passes must not grow, and cropping one back is refused by sliding layers."""
    backbone = make_backbone("qwen2")
    prefix = prefix_of(backbone.model, NO_VIRTUAL, (5, 6, 7))
    assert prefix is not None
    before = [tensor.clone() for tensor in prefix.tensors]
    batch = line_batch([(8, 9), (10,)], [(11, 1), (12, 1)])

    with torch.no_grad():
        first, second = (shared_pass(backbone.model, prefix, batch) for _ in range(2))

    assert torch.equal(first, second)
    assert all(torch.equal(tensor, old) for tensor, old in zip(prefix.tensors, before, strict=True))


@pytest.mark.parametrize("family", ["mistral", "gemma3_text"])
def test_rows_longer_than_a_sliding_window_are_run_whole_and_score_like_the_model_alone(family):
    backbone = make_backbone(family, sliding_window=24)
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(3))]
    assert min(map(len, rows)) > 24
    scorer = Scorer(backbone, trie_of(frame))

    scores = scorer.score(rows).answers

    assert "the model looks back 24" in str(scorer.reason_for(rows))
    for place, row in enumerate(rows):
        for column, answer in enumerate(trie_of(frame).answers):
            assert float(scores[place, column]) == pytest.approx(plain_reference(backbone, row, answer.ids), abs=1e-4)


def test_answers_beyond_a_sliding_window_equal_the_models_own():
    backbone = make_backbone("mistral", sliding_window=24)
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(3))]

    written, _ = Generator(backbone, Generation(max_new_tokens=6)).write(rows)

    for row, ours in zip(rows, written, strict=True):
        ids = torch.tensor([row])
        theirs = backbone.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, eos_token_id=1)
        expected = theirs[0, len(row) :].tolist()
        assert ours == (expected[: expected.index(1)] if 1 in expected else expected)


def test_experts_that_are_balanced_over_a_batch_take_the_plain_path(tmp_path):
    result = execute(make_run(tmp_path, make_backbone("mixtral", output_router_logits=True)))

    assert result.shared_prefix == "plain: its experts are balanced by a loss over all tokens of a batch"


@pytest.mark.parametrize("method", ["prompt_tuning", "p_tuning"])
def test_learned_vectors_are_as_wide_as_the_embeddings_where_the_model_is_wider(tmp_path, method):
    backbone = make_backbone("opt", word_embed_proj_dim=16)

    result = execute(make_run(tmp_path, backbone, method, options={"num_virtual_tokens": 4, "max_steps": 2}))

    assert result.artifact is not None
    assert backbone.plain_reason is None


def test_the_encoder_of_an_encoder_decoder_reads_a_row_once_for_all_labels():
    backbone = make_backbone("t5")
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(3))]
    passes = []
    handle = backbone.model.get_encoder().register_forward_hook(lambda *args: passes.append(1))

    Scorer(backbone, trie_of(frame)).score(rows)
    handle.remove()

    assert len(trie_of(frame).answers) > 1
    assert len(passes) == 1


def make_unlisted(kind: str, **sizes) -> Backbone:
    """A tiny model of a family that the matrix does not name but people bring."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), initializer_range=0.2, **sizes)
    return assemble_backbone(BackboneRef(f"tiny-{kind}"), AutoModelForCausalLM.from_config(config), tokenizer)


def test_positions_that_are_turned_otherwise_in_long_batches_are_beyond_the_window():
    """LongRoPE turns all rows of a batch by other angles once the longest has that many tokens: no row may get there."""
    factors = {"long_factor": [2.0] * 4, "short_factor": [1.0] * 4}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 32, **factors}
    backbone = make_backbone("phi3", original_max_position_embeddings=32, rope_parameters=rope)
    ids = torch.arange(5, 45)

    with torch.inference_mode():
        within, beyond = (backbone.model(ids[None, :length]).logits[0, :31] for length in (32, 33))

    assert not torch.allclose(within, beyond, atol=1e-3), "the angles stay as they are, so the test shows nothing"
    assert backbone.window == 32


def test_a_window_that_has_another_name_is_seen():
    """GPT-Neo's local layers; on rows that are no longer than the window, trying both ways finds nothing."""
    sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 256}
    backbone = make_unlisted("gpt_neo", window_size=24, attention_types=[[["global", "local"], 1]], **sizes)
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(3))]
    assert min(map(len, rows)) > 24

    scores = Scorer(backbone, trie_of(frame)).score(rows).answers

    for place, row in enumerate(rows):
        for column, answer in enumerate(trie_of(frame).answers):
            assert float(scores[place, column]) == pytest.approx(plain_reference(backbone, row, answer.ids), abs=1e-4)


def test_a_model_that_counts_distances_by_columns_is_run_whole():
    """MPT's ALiBi agrees on lines of tokens, but not on answers that stand behind the pads of a shorter row."""
    backbone = make_unlisted("mpt", d_model=32, n_layers=2, n_heads=4, max_seq_len=256)
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(5))]

    scores = Scorer(backbone, trie_of(frame)).score(rows).answers

    assert "shared and plain scores differ" in str(backbone.plain_reason)
    assert backbone.window == 256
    for place, row in enumerate(rows):
        assert float(scores[place, 0]) == pytest.approx(plain_reference(backbone, row, trie_of(frame).answers[0].ids), abs=1e-4)

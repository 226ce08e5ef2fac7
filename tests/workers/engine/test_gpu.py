"""On a real NVIDIA GPU: `python -m pytest -m gpu -n0`. A tiny model in memory, no download; few bits need bitsandbytes besides."""

import importlib.util

import pytest
import torch

from tests.workers.engine.fakes import make_backbone, make_frame, make_items, make_run, save_model, trie_of
from tests.workers.engine.serving.test_answerer import load_kinds, requests_of
from workers.engine.answering import scoring
from workers.engine.answering.generation import Generator
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.spec import BackboneRef
from workers.engine.execute import execute
from workers.engine.model.backbone import assemble_backbone, load_backbone
from workers.engine.model.runtime import begin_peak_memory, peak_memory_bytes
from workers.engine.passes.forward import shared_pass

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]
OPTIONS = {"max_steps": 6, "batch_size": 4, "evaluate_every": 3, "warmup_steps": 1, "patience": 0}
METHODS = ("prompt_tuning", "p_tuning", "prefix_tuning", "cpt", "lora", "ia3", "bottleneck")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Products in fp32 as they are, not rounded to TF32."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def on_gpu(family="llama", dtype=torch.float32):
    backbone = make_backbone(family, dtype=dtype)
    return assemble_backbone(backbone.ref, backbone.model.to("cuda"), backbone.tokenizer)


def read(backbone, **more):
    """Scores and free answers of a few rows."""
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(6))]
    writer = Generator(backbone, Generation(max_new_tokens=6), **more)
    return Scorer(backbone, trie_of(frame), **more).score(rows).answers, writer.write(rows)[0]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "opt", "gpt_neox", "bert", "t5"])
def test_rows_are_scored_and_answered_as_on_the_processor(family):
    here, there = read(make_backbone(family)), read(on_gpu(family))

    torch.testing.assert_close(there[0], here[0], atol=2e-3, rtol=1e-5)
    assert there[1] == here[1]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_in_bf16_rows_behind_a_shared_prefix_score_like_whole_rows(family):
    backbone = on_gpu(family, torch.bfloat16)

    shared, whole = read(backbone)[0], read(backbone, plain_reason="test")[0]

    assert backbone.plain_reason is None
    assert float((shared - whole).abs().max()) < 0.5
    assert int((shared.argmax(1) == whole.argmax(1)).sum()) >= len(shared) - 1


@pytest.mark.parametrize("method", METHODS)
def test_a_run_learns_what_it_learns_on_the_processor_and_its_artifact_answers_alike(tmp_path, method):
    here = execute(make_run(tmp_path / "here", make_backbone(), method, options=OPTIONS))
    there = execute(make_run(tmp_path / "there", on_gpu(), method, options=OPTIONS))
    again = execute(make_run(tmp_path / "again", on_gpu(), method, options=OPTIONS, artifact=str(tmp_path / "there" / "out" / "artifact")))

    assert [point.validation_loss for point in there.training.curve] == pytest.approx(
        [point.validation_loss for point in here.training.curve], rel=1e-2
    )
    assert there.shared_prefix == here.shared_prefix
    assert again.metrics["test"].correct == there.metrics["test"].correct


def test_rows_of_many_prompts_share_a_pass(tmp_path):
    kinds = ("written", "soft", "prefix", "p-tuned", "lora", "ia3")
    requests = requests_of(kinds, make_items(4))
    here, there = (load_kinds(tmp_path / name, make, kinds)[0] for name, make in (("here", make_backbone), ("there", on_gpu)))

    for ours, theirs in zip(there.score(requests), here.score(requests), strict=True):
        assert ours.loglikelihoods == pytest.approx(theirs.loglikelihoods, abs=2e-3)


def test_rows_that_do_not_fit_at_once_are_scored_in_halves(monkeypatch):
    backbone = on_gpu()
    expected = read(backbone)[0]
    real = shared_pass

    def scarce(model, prefix, batch):
        if batch.size > 2:
            torch.empty(1 << 50, device="cuda")  # more than any GPU has
        return real(model, prefix, batch)

    monkeypatch.setattr(scoring, "shared_pass", scarce)
    torch.testing.assert_close(read(backbone)[0], expected, atol=2e-3, rtol=0)


def test_the_peak_of_a_run_leaves_out_what_another_run_took():
    block = torch.empty(1 << 28, device="cuda")
    del block
    before = peak_memory_bytes()

    begin_peak_memory()

    assert peak_memory_bytes() < before - (1 << 27)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
@pytest.mark.parametrize("method", ["prompt_tuning", "lora"])
def test_a_base_in_few_bits_learns_and_stays_as_it_was(tmp_path, bits, method):
    # 64 numbers share a scale.
    folder = save_model(tmp_path / "model", hidden_size=128, intermediate_size=256, num_attention_heads=4, num_key_value_heads=2)
    backbone = load_backbone(BackboneRef(str(folder), dtype=bits, device="cuda"))

    result = execute(make_run(tmp_path / "run", backbone, method, options=OPTIONS))

    curve = result.training.curve
    assert min(point.validation_loss or 0.0 for point in curve[1:]) < curve[0].validation_loss
    assert backbone.fingerprint() == backbone.weights_hash

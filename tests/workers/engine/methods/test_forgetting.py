import pytest
import torch

from tests.workers.engine.fakes import make_backbone, make_run
from workers.engine.execute import execute
from workers.engine.methods.forgetting import forgetting, unrelated_loss, unrelated_text
from workers.engine.passes.prefix import Virtual


def test_the_loss_is_the_models_own_on_each_chunk():
    backbone = make_backbone("llama")
    ids = backbone.tokenizer(unrelated_text())["input_ids"]
    total, tokens = 0.0, 0
    with torch.no_grad():
        for at in range(0, len(ids) - 1, 64):  # a quarter of its window
            chunk = torch.tensor([ids[at : at + 64]])
            total += float(backbone.model(chunk, labels=chunk).loss) * (chunk.shape[1] - 1)
            tokens += chunk.shape[1] - 1

    ours, counted = unrelated_loss(backbone)

    assert counted == tokens
    assert ours == pytest.approx(total / tokens, rel=1e-5)


def test_a_learned_part_that_leaves_no_room_for_the_text_has_no_figure():
    backbone = make_backbone("gpt2")  # a window of 256

    assert forgetting(backbone, 5.0, Virtual(vectors=torch.randn(193, 32))) is None
    assert forgetting(backbone, 5.0, Virtual(vectors=torch.randn(192, 32))).before == 5.0


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning", "lora"])
def test_every_tuned_run_says_what_it_forgot(tmp_path, method):
    backbone = make_backbone("llama")
    before, tokens = unrelated_loss(backbone)

    result = execute(make_run(tmp_path, backbone, method, options={"learning_rate": 0.05}))

    found = result.forgetting
    assert (found.before, found.tokens) == (pytest.approx(before), tokens)
    # An untrained adapter changes nothing, and step 0 may be the best candidate of a run this short.
    assert (found.after == pytest.approx(before)) == (method == "lora" and result.training.best_step == 0)
    assert unrelated_loss(backbone)[0] == pytest.approx(before)


def test_a_written_prompt_forgets_nothing(tmp_path):
    assert execute(make_run(tmp_path, make_backbone())).forgetting is None

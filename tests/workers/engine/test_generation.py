import pytest
import torch

from tests.workers.engine.fakes import FAMILIES, make_backbone, make_frame, make_items
from workers.engine.generation import Generator
from workers.engine.prefix import Virtual


@pytest.mark.parametrize("family", FAMILIES)
def test_batched_greedy_answers_equal_the_models_own_generation(family):
    backbone = make_backbone(family)
    frame = make_frame(backbone, task="extraction", labels=())
    rows = [row.ids for row in frame.encode(make_items(5))]

    written, _ = Generator(backbone, max_new_tokens=8).write(rows)

    for row, ours in zip(rows, written, strict=True):
        ids = torch.tensor([row])
        theirs = backbone.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, eos_token_id=1)
        expected = theirs[0, len(row) :].tolist()
        assert ours == (expected[: expected.index(1)] if 1 in expected else expected)


def test_an_answer_ends_at_the_terminator_and_at_the_limit():
    backbone = make_backbone("gpt2")
    rows = [(10, 11, 12), (13, 14)]

    written, seconds = Generator(backbone, max_new_tokens=3, virtual=Virtual(vectors=torch.randn(4, 32))).write(rows)

    assert all(len(answer) <= 3 and backbone.terminator_id not in answer for answer in written)
    assert len(seconds) == 2

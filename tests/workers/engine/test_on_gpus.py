"""Runs on one GPU and on a model that is spread over two: every tensor where the operation before and after it is.

The GPUs are pretended; the tests marked gpu do the same on a real one and need nothing but it.
"""

import pytest
import torch

from tests.workers.engine.fakes import make_backbone, make_frame, make_items, make_run, trie_of
from tests.workers.engine.golden import scores_in
from tests.workers.engine.pretended import moved, pretended_gpus
from tests.workers.engine.serving.test_answerer import load_kinds, requests_of
from workers.engine.answering.generation import Generator
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.answer_rules import Generation
from workers.engine.execute import execute

ONE_OR_TWO = pytest.mark.parametrize("spread", [pytest.param(False, id="one GPU"), pytest.param(True, id="two GPUs")])
FAMILIES = ["llama", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "gemma2", "opt"))]
METHODS = ["prompt_tuning", "p_tuning", "prefix_tuning", "lora", "ia3", "bottleneck"]


def read(backbone):
    """Scores and free answers of a few rows."""
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(3))]
    return Scorer(backbone, trie_of(frame)).score(rows).answers, Generator(backbone, Generation(max_new_tokens=4)).write(rows)[0]


@ONE_OR_TWO
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_scored_and_answered_as_on_the_processor(monkeypatch, family, spread):
    expected, written = read(make_backbone(family))

    with pretended_gpus(monkeypatch, 2):
        backbone = moved(make_backbone(family), spread)
        scores, answers = read(backbone)

    assert backbone.plain_reason is None
    assert {str(parameter.device) for parameter in backbone.model.parameters()} == {"cuda:0", "cuda:1"} if spread else {"cuda:0"}
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)
    assert answers == written


@ONE_OR_TWO
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_learns_what_it_learns_on_the_processor_and_its_artifact_answers_alike(monkeypatch, tmp_path, method, spread):
    options = {"max_steps": 2, "batch_size": 3, "evaluate_every": 1, "warmup_steps": 0, "patience": 0}
    here = execute(make_run(tmp_path / "here", make_backbone(), method, rows=6, options=options))

    with pretended_gpus(monkeypatch, 2):
        there = execute(make_run(tmp_path / "there", moved(make_backbone(), spread), method, rows=6, options=options))
        artifact = {"artifact": str(tmp_path / "there" / "out" / "artifact")}
        again = execute(make_run(tmp_path / "again", moved(make_backbone(), spread), method, rows=6, options=options, **artifact))

    scores = [scores_in(tmp_path / name) for name in ("here", "there", "again")]
    torch.testing.assert_close(scores[1], scores[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(scores[2], scores[1], atol=1e-4, rtol=0)
    assert again.training is None
    assert there.shared_prefix == here.shared_prefix == "shared"
    learned = [point.validation_loss for point in there.training.curve]
    assert learned == pytest.approx([point.validation_loss for point in here.training.curve], rel=1e-4)
    assert learned[0] != pytest.approx(learned[-1], rel=1e-4), "nothing was learned, so the test shows nothing"


@ONE_OR_TWO
@pytest.mark.slow
def test_rows_of_many_prompts_share_a_pass(monkeypatch, tmp_path, spread):
    kinds = ("written", "soft", "prefix", "lora", "ia3")
    requests = requests_of(kinds, make_items(2))
    rules = Generation(max_new_tokens=4, stop=())
    here, _ = load_kinds(tmp_path / "here", make_backbone, kinds)
    expected = [*here.score(requests), *here.generate(requests, rules)]

    with pretended_gpus(monkeypatch, 2):
        there, _ = load_kinds(tmp_path / "there", lambda: moved(make_backbone(), spread), kinds)
        found = [*there.score(requests), *there.generate(requests, rules)]

    for ours, theirs in zip(found, expected, strict=True):
        assert ours.loglikelihoods == pytest.approx(theirs.loglikelihoods, abs=1e-4)
        assert ours.text == theirs.text

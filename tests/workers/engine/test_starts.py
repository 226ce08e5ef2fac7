"""A training that starts from another run's tuned part: step 0 is that part, and what does not fit is refused with a sentence."""

import json

import pytest
import torch

from tests.workers.engine.fakes import each_way, make_backbone, make_frame, make_items, make_run, trie_of
from tests.workers.engine.training.test_loop import WAYS
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.spec import Recipe
from workers.engine.errors import BadSpec, MissingModel
from workers.engine.execute import execute
from workers.engine.methods.artifacts import start_from
from workers.engine.methods.tuning import create_tuning


def make_tuned(folder, way, **options):
    """The folder of a tuned part that has moved off its start."""
    method, variant = WAYS[way]
    execute(make_run(folder, make_backbone(), method, options={"learning_rate": 0.02, **variant, **options}))
    return folder / "out" / "artifact"


def scores_written(folder):
    lines = (folder / "out" / "predictions-test.jsonl").read_text(encoding="utf-8").splitlines()
    return torch.tensor([list(json.loads(line)["loglikelihoods"].values()) for line in lines])


@each_way(way for way in WAYS if way != "cpt")
def test_step_zero_is_the_tuned_part_that_it_starts_from(tmp_path, way):
    folder = make_tuned(tmp_path, way)
    method, variant = WAYS[way]
    backbone = make_backbone()
    frame = make_frame(backbone)
    tuning = create_tuning(backbone, frame, Recipe(method, variant), seed=9)

    start_from(folder, tuning, backbone)

    with torch.no_grad():
        scores = Scorer(backbone, trie_of(frame), tuning.virtual()).score([row.ids for row in frame.encode(make_items(12))]).answers
    torch.testing.assert_close(scores, scores_written(tmp_path), atol=1e-4, rtol=0)


@pytest.mark.parametrize("way", ["p_tuning", "cpt"])
def test_a_soft_prompt_takes_the_vectors_of_other_methods(tmp_path, way):
    folder = make_tuned(tmp_path, way)
    count = json.loads((folder / "promptlab.json").read_text(encoding="utf-8"))["virtual_tokens"]
    options = {"num_virtual_tokens": count, "template_text": "replaced" if way == "cpt" else "kept"}
    run = make_run(tmp_path / "next", make_backbone(), "prompt_tuning", options=options, start_from=str(folder))

    result = execute(run)

    assert result.training is not None
    first = result.training.curve[0]
    expected = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["metrics"]["test"]
    assert first.validation_accuracy == pytest.approx(expected["accuracy"])


def test_drift_is_measured_from_the_tuned_part_that_it_starts_from(tmp_path):
    folder = make_tuned(tmp_path, "prompt_tuning", learning_rate=2.0, max_steps=30, evaluate_every=10, num_virtual_tokens=4)
    moved = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["learned_tokens"]["tokens"]
    options = {"num_virtual_tokens": 4, "learning_rate": 1e-5, "max_steps": 1}

    result = execute(make_run(tmp_path / "next", make_backbone(), "prompt_tuning", options=options, start_from=str(folder)))

    assert min(token["drift"] for token in moved) > 1.0
    assert max(token["drift"] for token in result.learned_tokens["tokens"]) < 1e-3


@pytest.mark.parametrize(
    ("made_by", "made_with", "method", "options", "sentence"),
    [
        (
            "prompt_tuning",
            {"num_virtual_tokens": 3},
            "prompt_tuning",
            {},
            "it has 3 learned tokens, this recipe 20. Set num_virtual_tokens to 3",
        ),
        ("lora", {"rank": 2}, "lora", {}, "its matrices have other names or shapes"),
        ("lora", {}, "prompt_tuning", {}, "was made by lora; prompt_tuning can start from: prompt_tuning, p_tuning, cpt"),
    ],
)
def test_another_shape_or_method_is_refused(tmp_path, made_by, made_with, method, options, sentence):
    folder = make_tuned(tmp_path, made_by, **made_with)

    with pytest.raises(BadSpec, match=sentence):
        execute(make_run(tmp_path / "next", make_backbone(), method, options=options, start_from=str(folder)))


def test_another_model_of_the_same_size_is_refused(tmp_path):
    folder = make_tuned(tmp_path, "prompt_tuning")
    other = make_backbone()
    other.facts["source"] = "another-llama"

    with pytest.raises(BadSpec, match="was made for tiny-llama"):
        execute(make_run(tmp_path / "next", other, "prompt_tuning", start_from=str(folder)))


def test_a_p_tuning_folder_without_its_network_says_so(tmp_path):
    folder = make_tuned(tmp_path, "p_tuning")
    manifest = json.loads((folder / "promptlab.json").read_text(encoding="utf-8"))
    del manifest["files"]["training_state.safetensors"]
    (folder / "promptlab.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "training_state.safetensors").unlink()

    with pytest.raises(MissingModel, match="has no training_state"):
        execute(make_run(tmp_path / "next", make_backbone(), "p_tuning", start_from=str(folder)))


def test_a_written_prompt_cannot_start_from_anything(tmp_path):
    with pytest.raises(BadSpec, match="trains no part of its own"):
        make_run(tmp_path, make_backbone(), "hard_prompt", start_from="somewhere")

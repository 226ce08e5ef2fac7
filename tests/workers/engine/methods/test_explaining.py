from typing import Any

import pytest
import torch

from tests.workers.engine.fakes import make_backbone, make_frame, make_items, make_run
from workers.engine.answering.scoring import Scorer
from workers.engine.errors import BadSpec, Unsupported
from workers.engine.execute import execute
from workers.engine.methods.explaining import NEAREST, ablate, describe_vectors, num_rows_for
from workers.engine.passes.prefix import Virtual


def words_of(backbone, ids):
    return backbone.model.get_input_embeddings().weight.detach()[ids].float()


def test_a_vector_that_is_a_words_own_is_closest_to_that_word():
    backbone = make_backbone("llama")
    words = words_of(backbone, [40, 300])

    found = describe_vectors(backbone, words, words * 2)

    assert [token["nearest"][0]["text"] for token in found["tokens"]] == [backbone.tokenizer.decode([id]) for id in (40, 300)]
    for token, word in zip(found["tokens"], words, strict=True):
        closest = [near["similarity"] for near in token["nearest"]]
        assert closest[0] == pytest.approx(1.0, abs=1e-3)
        assert closest == sorted(closest, reverse=True)
        assert len(closest) == NEAREST
        assert (token["norm"], token["drift"]) == pytest.approx((2 * float(word.norm()), float(word.norm())), rel=1e-4)
        assert token["start_similarity"] == pytest.approx(1.0, abs=1e-4)


def test_closest_words_are_found_across_blocks_of_the_vocabulary(monkeypatch):
    backbone = make_backbone("llama")
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    whole = describe_vectors(backbone, vectors, vectors)

    monkeypatch.setattr("workers.engine.methods.explaining._BLOCK", 7)

    assert describe_vectors(backbone, vectors, vectors)["tokens"] == whole["tokens"]


def test_taking_a_token_out_is_scoring_without_it():
    backbone = make_backbone("gpt2")
    frame = make_frame(backbone)
    items = make_items(8)
    assert frame.trie is not None
    rows = frame.encode(items)
    assert frame.trie is not None
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))

    found = ablate(frame, Virtual(vectors=vectors), rows, False, lambda progress: None)

    expected = torch.tensor([frame.spec.labels.index(item.label) for item in items])
    for place, change in enumerate(found["tokens"]):
        rest = Virtual(vectors=vectors[[at for at in range(3) if at != place]])
        right = Scorer(backbone, frame.trie, rest).score([row.ids for row in rows]).labels.argmax(1) == expected
        assert found["accuracy"] + change["accuracy_change"] == pytest.approx(float(right.float().mean()))
        assert change["accuracy_change"] == pytest.approx((change["won"] - change["lost"]) / 8)


def test_more_learned_tokens_are_tried_on_fewer_rows():
    assert [num_rows_for(count) for count in (1, 20, 128, 2000)] == [256, 256, 128, 32]


@pytest.mark.parametrize("task", [{}, {"task": "extraction", "labels": ()}])
def test_a_run_leaves_what_it_learned_and_the_artifact_can_be_explained_later(tmp_path, task):
    backbone = make_backbone("llama")
    options = {"num_virtual_tokens": 4, "init": "vocabulary"}
    trained = execute(make_run(tmp_path / "made", backbone, "prompt_tuning", options=options, **task))

    assert len(trained.learned_tokens["tokens"]) == 4
    assert trained.ablation is None
    asked = {"options": options, "artifact": str(tmp_path / "made/out/artifact"), "ablate": True, "evaluate": (), **task}
    explained = execute(make_run(tmp_path / "asked", backbone, "prompt_tuning", **asked)).ablation

    assert explained["rows"] == 12
    assert len(explained["tokens"]) == 4
    assert ("accuracy_change" in explained["tokens"][0]) == (not task)


def test_an_approach_without_learned_tokens_of_its_own_is_refused(tmp_path):
    backbone = make_backbone("llama")
    execute(make_run(tmp_path / "made", backbone, "lora"))
    asked: dict[str, Any] = {"artifact": str(tmp_path / "made/out/artifact"), "ablate": True, "evaluate": ()}

    with pytest.raises(Unsupported, match="soft prompt"):
        execute(make_run(tmp_path / "asked", backbone, "lora", **asked))


def test_explaining_needs_an_artifact_and_validation_rows(tmp_path):
    with pytest.raises(BadSpec, match="validation rows"):
        make_run(tmp_path, make_backbone(), "prompt_tuning", ablate=True)

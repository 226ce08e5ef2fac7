"""A prefix that is read as it lies gives what a prefix copied to every row gives, on every family that can; others keep copying."""

import pytest
import torch

from tests.workers.engine.fakes import FAMILIES, make_backbone, make_frame, make_items, trie_of
from workers.engine.answering.scoring import Scorer
from workers.engine.passes import folded_attention, forward
from workers.engine.passes.batching import line_batch, tree_batch
from workers.engine.passes.folded_attention import NAME, folding
from workers.engine.passes.forward import folded_pass, shared_pass
from workers.engine.passes.prefix import NO_VIRTUAL, PrefixStates, prefix_of


@pytest.fixture
def fold_all(monkeypatch):
    """Short prefixes are folded too; returns how often that was done."""
    monkeypatch.setattr(folded_attention, "_SHORTEST", 1)
    calls = []
    monkeypatch.setattr(forward, "folded_pass", lambda *args: calls.append(1) or folded_pass(*args))
    return calls


@pytest.mark.parametrize("family", [*FAMILIES, "mistral", "qwen3", "gpt_neox", "opt", "gemma", "phi"])
def test_families_fold_and_score_as_with_whole_rows(family, fold_all):
    backbone = make_backbone(family)
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(6))]
    scorer = Scorer(backbone, trie_of(frame))

    shared = scorer.score(rows)
    plain = Scorer(backbone, trie_of(frame), plain_reason="test").score(rows)

    assert fold_all
    assert backbone.model.config._attn_implementation == NAME
    torch.testing.assert_close(shared.answers, plain.answers, atol=1e-4, rtol=0)


def test_uneven_rows_with_trees_behind_them_keep_their_masks():
    backbone = make_backbone("llama")
    assert backbone.plain_reason is None
    trie = trie_of(make_frame(backbone))
    with torch.inference_mode():
        prefix = prefix_of(backbone.model, NO_VIRTUAL, range(3, 30))
        assert prefix is not None
        batch = tree_batch([(5, 6, 7), (8,), (9, 10, 11, 12, 13)], trie)

        folded, copied = folded_pass(backbone.model, prefix, batch), shared_pass(backbone.model, prefix, batch)

    torch.testing.assert_close(folded, copied, atol=1e-4, rtol=0)


@pytest.mark.parametrize("added", ["softcap", "s_aux", "position_bias"])
def test_what_a_family_adds_to_its_scores_is_refused_not_left_out(added):
    module, tensor = torch.nn.Linear(1, 1), torch.zeros(1, 1, 1, 4)
    prefix = PrefixStates((tensor,), (tensor,))

    with folding(prefix), pytest.raises(NotImplementedError, match=added):
        folded_attention._attend(module, tensor, tensor, tensor, None, **{added: 1.0})


def test_a_model_that_answers_otherwise_when_folded_is_not_folded(monkeypatch):
    backbone = make_backbone("llama")
    flash = folded_attention._flash
    monkeypatch.setattr(folded_attention, "_flash", lambda *args: tuple(1.5 * part for part in flash(*args)))

    assert backbone.plain_reason is None
    assert backbone.model.config._attn_implementation == "sdpa"


def test_training_behind_a_long_prefix_is_not_folded(fold_all):
    backbone = make_backbone("llama")
    assert backbone.plain_reason is None
    prefix = prefix_of(backbone.model, NO_VIRTUAL, range(3, 9))

    shared_pass(backbone.model, prefix.as_leaf(), line_batch([(5, 6)], [(7,)]))
    assert not fold_all

    with torch.inference_mode():
        shared_pass(backbone.model, prefix, line_batch([(5, 6)], [(7,)]))
    assert fold_all

import pytest
import torch

from tests.workers.engine.fakes import FAMILIES, LABELS, make_backbone, make_frame, make_items, trie_of
from workers.engine.answering.scoring import Scorer, line_scores, log_normaliser
from workers.engine.errors import OutOfMemory
from workers.engine.passes.batching import line_batch
from workers.engine.passes.forward import plain_pass
from workers.engine.passes.prefix import NO_VIRTUAL, Virtual


def plain_reference(backbone, context, answer):
    """Sum of next-token log-probabilities, one sequence, nothing clever."""
    ids = torch.tensor([[*context, *answer]])
    with torch.no_grad():
        found = backbone.model(ids, use_cache=False).logits.float().log_softmax(-1)
    return sum(float(found[0, len(context) - 1 + place, token]) for place, token in enumerate(answer))


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_one_plain_sequence_a_row_and_label(family):
    backbone = make_backbone(family)
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(6))]

    scores = Scorer(backbone, trie_of(frame)).score(rows)

    for place, row in enumerate(rows):
        for column, answer in enumerate(trie_of(frame).answers):
            assert float(scores.answers[place, column]) == pytest.approx(plain_reference(backbone, row, answer.ids), abs=1e-4)
    assert scores.prefix_tokens > 5


@pytest.mark.parametrize("way", ["shared", "plain", "lines"])
def test_lack_of_memory_scores_in_halves_down_to_single_rows(monkeypatch, way):
    backbone = make_backbone()
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(5))]
    scorer = Scorer(backbone, trie_of(frame), plain_reason="told" if way == "plain" else None)
    answers = [trie_of(frame).answers[0].ids] * len(rows)

    def scored():
        return line_scores(backbone, NO_VIRTUAL, rows, answers) if way == "lines" else scorer.score(rows).answers

    expected = scored()
    forward, sizes = backbone.model.forward, []

    def scarce(*args, **kwargs):
        size = len(kwargs["inputs_embeds"] if kwargs.get("inputs_embeds") is not None else kwargs["input_ids"])
        if size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(size)
        return forward(*args, **kwargs)

    monkeypatch.setattr(backbone.model, "forward", scarce)

    torch.testing.assert_close(scored(), expected, atol=1e-4, rtol=0)
    assert len(sizes) >= len(rows)


def test_a_row_that_does_not_fit_alone_is_one_sentence(monkeypatch):
    backbone = make_backbone()
    frame = make_frame(backbone)

    def scarce(*args, **kwargs):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(backbone.model, "forward", scarce)

    with pytest.raises(OutOfMemory, match="Not even one row fits"):
        Scorer(backbone, trie_of(frame), plain_reason="told").score([row.ids for row in frame.encode(make_items(3))])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_scores_the_same_alone_and_in_any_company(family):
    backbone = make_backbone(family)
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(9))]
    scorer = Scorer(backbone, trie_of(frame))

    together = scorer.score(rows).labels
    alone = torch.cat([scorer.score([row]).labels for row in rows])

    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_five_hundred_labels_with_commas_quotes_and_emoji_score_as_whole_sequences():
    labels = tuple(f'queue {number}, "{sign}"' for number in range(125) for sign in ("a", "ä", "👋", "a b"))
    backbone = make_backbone("llama")
    frame = make_frame(backbone, labels=labels)
    row = frame.encode(make_items(1))[0].ids

    scores = Scorer(backbone, trie_of(frame)).score([row])

    assert scores.labels.shape == (1, 500)
    for column in (0, 1, 2, 3, 250, 499):
        ids = trie_of(frame).answers[column].ids
        assert float(scores.answers[0, column]) == pytest.approx(plain_reference(backbone, row, ids), abs=2e-4)


def test_plain_and_shared_paths_agree():
    backbone = make_backbone("qwen2")
    frame = make_frame(backbone)
    rows = [row.ids for row in frame.encode(make_items(5))]
    virtual = Virtual(vectors=torch.randn(7, 32) * 0.3)

    shared = Scorer(backbone, trie_of(frame), virtual).score(rows)
    plain = Scorer(backbone, trie_of(frame), virtual, plain_reason="test").score(rows)

    torch.testing.assert_close(shared.answers, plain.answers, atol=1e-4, rtol=0)


def test_pads_between_prompt_and_text_would_move_scores():
    """The trap that right padding avoids: with learned vectors in front, pads on the left are not neutral."""
    backbone = make_backbone("gpt2")
    learned = torch.randn(5, 32) * 0.5
    virtual = Virtual(vectors=learned)
    row, answer = (10, 11, 12), (13, 1)
    batch = line_batch([row], [answer], step=1)

    with torch.no_grad():
        right = plain_pass(backbone.model, virtual, batch)
        left_ids = torch.cat([torch.full((1, 6), 2), batch.ids], dim=1)
        inputs = torch.cat([learned[None], backbone.model.get_input_embeddings()(left_ids)], dim=1)
        mask = torch.ones(1, inputs.shape[1], dtype=torch.long)
        mask[0, 5:11] = 0
        left = backbone.model(inputs_embeds=inputs, attention_mask=mask).logits[0, -2:]

    assert float((left.log_softmax(-1) - right.log_softmax(-1)).abs().max()) > 1e-2


def test_a_label_that_begins_another_does_not_win_by_being_shorter():
    frame = make_frame(make_backbone())

    card, card_order = frame.answers_of("card")[0].ids, frame.answers_of("card order")[0].ids

    assert card[-1] == card_order[-1] == frame.backbone.terminator_id
    assert card_order[: len(card) - 1] == card[:-1]
    assert len(trie_of(frame).answers) == len(LABELS)


def test_several_words_of_a_label_add_up_as_probabilities():
    backbone = make_backbone()
    frame = make_frame(backbone, answer_words={"cash": ("cash", "money")})
    rows = [row.ids for row in frame.encode(make_items(3))]

    scores = Scorer(backbone, trie_of(frame)).score(rows)

    words = [i for i, answer in enumerate(trie_of(frame).answers) if answer.label == "cash"]
    assert len(words) == 2
    expected = scores.answers[:, words].exp().sum(1).log()
    torch.testing.assert_close(scores.labels[:, LABELS.index("cash")], expected, atol=1e-4, rtol=0)


def test_a_barred_first_token_leaves_the_normaliser_right():
    logits = torch.randn(20, 50)
    logits[:, 0] = -torch.inf

    torch.testing.assert_close(log_normaliser(logits), logits.double().logsumexp(-1).float(), atol=1e-5, rtol=0)

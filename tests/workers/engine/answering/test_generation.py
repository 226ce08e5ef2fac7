"""Free answers equal the models' own generation, and follow the rules that were asked for."""

from typing import Any

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from tests.workers.engine.fakes import FAMILIES, QUICK, make_backbone, make_frame, make_items
from workers.engine.answering.generation import Generator, predict_texts, sample, stop_place
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.spec import Recipe
from workers.engine.errors import BadSpec
from workers.engine.methods.tuning import create_tuning
from workers.engine.passes.prefix import NO_VIRTUAL, Virtual, prefix_of

GREEDY = Generation(max_new_tokens=8, stop=())
SAMPLED = Generation(max_new_tokens=8, temperature=0.8, top_p=0.9, seed=3, stop=())
TUNED: dict[str, dict[str, Any]] = {
    "prompt_tuning": {"num_virtual_tokens": 5, "template_text": "kept"},
    "p_tuning": {"num_virtual_tokens": 5},
    "prefix_tuning": {"num_virtual_tokens": 5},
    "lora": {},
    "ia3": {},
}


def ids_of(backbone, n=5):
    frame = make_frame(backbone, task="extraction", labels=())
    return [row.ids for row in frame.encode(make_items(n))]


def their_answer(model, row, **asked):
    """What transformers' own generation writes, one row at a time."""
    ids = torch.tensor([row])
    whole = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, eos_token_id=1, **asked)
    written = whole[0, len(row) :].tolist()
    return written[: written.index(1)] if 1 in written else written


@pytest.mark.parametrize("plain_reason", [None, "told"], ids=["kept states", "whole rows"])
@pytest.mark.parametrize("rules", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_lack_of_memory_writes_in_halves_and_the_same_answers(monkeypatch, rules, plain_reason):
    backbone = make_backbone()
    rows = ids_of(backbone, 5)
    writer = Generator(backbone, rules, plain_reason=plain_reason)
    expected = writer.write(rows)[0]
    original, sizes = Generator.write_batch, []

    def scarce(self, steps, draws):
        sizes.append(len(draws))
        if len(draws) > 2:
            raise MemoryError
        return original(self, steps, draws)

    monkeypatch.setattr(Generator, "write_batch", scarce)

    assert writer.write(rows)[0] == expected
    assert sizes == [5, 2, 3, 1, 2]


@pytest.mark.parametrize("family", FAMILIES)
def test_batched_greedy_answers_equal_the_models_own_generation(family):
    backbone = make_backbone(family)
    rows = ids_of(backbone, 7)

    written, _ = Generator(backbone, GREEDY).write(rows)

    assert written == [their_answer(backbone.model, row) for row in rows]


@pytest.mark.parametrize("method", TUNED)
def test_answers_of_tuned_approaches_equal_peft_with_transformers(method):
    backbone = make_backbone("llama")
    frame = make_frame(backbone, task="extraction", labels=())
    tuning: Any = create_tuning(backbone, frame, Recipe(method, {**QUICK, **TUNED[method]}), seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in tuning.trained():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        tuning.peft_model.eval()
        rows = ids_of(backbone, 4)
        written, _ = Generator(backbone, GREEDY, tuning.virtual()).write(rows)

        assert written == [their_answer(tuning.peft_model, row) for row in rows]


def test_a_model_whose_states_cannot_be_kept_writes_the_same_the_slow_way():
    backbone = make_backbone("qwen2")
    rows = ids_of(backbone)
    virtual = Virtual(vectors=torch.randn(4, 32))

    plain = Generator(backbone, GREEDY, virtual, plain_reason="asked for").write(rows)[0]

    assert plain == Generator(backbone, GREEDY, virtual).write(rows)[0]


@pytest.mark.parametrize("rules", [GREEDY, SAMPLED])
def test_an_answer_does_not_depend_on_the_rows_beside_it(rules):
    backbone = make_backbone("gpt2")
    rows = ids_of(backbone, 9)
    names = [f"row-{number}" for number in range(9)]
    generator = Generator(backbone, rules)

    together = generator.write(rows, names)[0]

    assert together == [generator.write([row], [name])[0][0] for row, name in zip(rows, names, strict=True)]


def test_a_served_request_gets_the_answer_of_the_batch():
    backbone = make_backbone("llama")
    rows = ids_of(backbone, 3)
    generator = Generator(backbone, SAMPLED)

    assert [generator.write_one(row, str(at), (), None) for at, row in enumerate(rows)] == generator.write(rows)[0]


def test_draws_follow_the_seed():
    backbone = make_backbone("llama")
    rows = ids_of(backbone)
    other = Generation(max_new_tokens=8, temperature=0.8, top_p=0.9, seed=4, stop=())

    first = Generator(backbone, SAMPLED).write(rows)[0]

    assert first == Generator(backbone, SAMPLED).write(rows)[0]
    assert first != Generator(backbone, other).write(rows)[0]


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 1.0])
def test_the_drawn_distribution_is_that_of_transformers(top_p):
    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(0)) * 2
    ids = torch.zeros(1, 1, dtype=torch.long)
    theirs = TopPLogitsWarper(top_p)(ids, TemperatureLogitsWarper(0.7)(ids, logits)).softmax(-1)[0]
    uniform = (torch.arange(20_000)[:, None] + 0.5) / 20_000

    drawn = sample(logits.expand(20_000, -1), Generation(temperature=0.7, top_p=top_p), uniform)

    ours = torch.bincount(drawn, minlength=40) / 20_000
    assert (ours - theirs).abs().max() < 1e-3


def test_an_answer_ends_before_the_first_stop_text():
    backbone = make_backbone("llama")
    rows = ids_of(backbone)
    long = Generation(max_new_tokens=24, stop=())
    free = Generator(backbone, long)
    whole = [free.text_of(ids) for ids in free.write(rows)[0]]
    stop = whole[0][3:5]  # some two characters that the model writes in the first row
    stopping = Generator(backbone, Generation(max_new_tokens=24, stop=(stop,)))

    answers = stopping.write(rows)[0]

    assert [stopping.text_of(ids) for ids in answers] == [text[: stop_place(text, (stop,))].strip() for text in whole]
    assert len(answers[0]) < len(free.write(rows)[0][0])


def test_an_empty_line_before_the_answer_does_not_end_it():
    backbone = make_backbone("llama")
    generator = Generator(backbone, Generation(stop=("\n",)))

    assert generator.text_of(backbone.tokenizer("\n\n card\nqueue")["input_ids"]) == "card"


def test_an_answer_ends_at_the_terminator_and_at_the_limit():
    backbone = make_backbone("gpt2")
    rules = Generation(max_new_tokens=3, stop=())

    written, seconds = Generator(backbone, rules, Virtual(vectors=torch.randn(4, 32))).write([(10, 11, 12), (13, 14)])

    assert all(len(answer) <= 3 and backbone.terminator_id not in answer for answer in written)
    assert len(seconds) == 2


def test_the_tokens_of_an_answer_count_the_terminator_only_where_it_was_written():
    backbone = make_backbone("gpt2")
    frame = make_frame(backbone, task="extraction", labels=(), generation=Generation(max_new_tokens=2, stop=()))

    made = predict_texts(frame, Generator(backbone, frame.spec.generation), make_items(3))

    assert all(each.completion_tokens <= 2 for each in made)


def test_an_answer_that_ends_at_its_last_allowed_token_was_not_cut():
    """With its terminator it counts as many tokens as one that was cut."""
    backbone = make_backbone("llama")
    ids = backbone.tokenizer("card cash transfer")["input_ids"]
    exact, short = (Generator(backbone, Generation(max_new_tokens=len(ids) + more, stop=("\n",))) for more in (1, 0))
    stopping = Generator(backbone, Generation(max_new_tokens=len(ids), stop=("cash",)))

    assert (exact.num_tokens(ids), exact.is_cut(ids)) == (len(ids) + 1, False)
    assert (short.num_tokens(ids), short.is_cut(ids)) == (len(ids), True)
    assert not stopping.is_cut(ids)


@pytest.mark.parametrize("limit", [2, 24])
def test_computed_tokens_are_those_that_the_model_reads_behind_what_all_rows_share(limit):
    backbone = make_backbone("llama")
    frame = make_frame(backbone, task="extraction", labels=(), generation=Generation(max_new_tokens=limit, stop=("e",)))
    generator, items = Generator(backbone, frame.spec.generation), make_items(4)
    rows = [row.ids for row in frame.encode(items)]
    shared = rows[0][: generator.num_shared(rows)]
    prefix = prefix_of(backbone.model, NO_VIRTUAL, shared)
    read: list[int] = []
    counting = backbone.model.register_forward_pre_hook(lambda _, __, asked: read.append(asked["input_ids"].numel()), with_kwargs=True)
    counts = []
    try:
        for row, item in zip(rows, items, strict=True):
            read.clear()
            generator.write_one(row, item.id, shared, prefix)
            counts.append(sum(read))
    finally:
        counting.remove()

    assert len(shared) > 5
    assert [each.computed_tokens for each in predict_texts(frame, generator, items)] == counts


def test_a_row_that_is_run_whole_computes_all_of_it_and_the_learned_part():
    backbone = make_backbone("llama")
    frame = make_frame(backbone, task="extraction", labels=(), generation=GREEDY)
    whole = Generator(backbone, GREEDY, Virtual(vectors=torch.randn(4, 32)), plain_reason="told")

    made = predict_texts(frame, whole, make_items(3))

    assert [each.computed_tokens for each in made] == [4 + each.prompt_tokens + each.completion_tokens - 1 for each in made]


@pytest.mark.parametrize(
    "wrong", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"stop": ("",)}, {"seed": 1.5}]
)
def test_rules_out_of_range_are_refused(wrong):
    with pytest.raises(BadSpec, match="generation"):
        Generation(**wrong)

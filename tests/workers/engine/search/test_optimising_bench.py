"""The bench of DSPy's searches without DSPy: which rows are asked, and what counts."""

import pytest

from workers.engine.contract.spec import BackboneRef, EvaluateOn, FileRef, Item, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.errors import BadData
from workers.engine.search.optimising import Said
from workers.engine.search.optimising_bench import ANSWER, Bench

SPEC = RunSpec(
    id="search",
    backbone=BackboneRef("none"),
    template=TemplateSpec(user="Sort it.\nMail: {{text}}", answer_cue="\nQueue:"),
    evaluate=(EvaluateOn("test", FileRef("none")),),
    labels=("refund", "delivery"),
    train=FileRef("train"),
    validation=FileRef("validation"),
    recipe=Recipe("dspy_search", {"optimizer": "gepa", "budget": 64}),
)


class Right:
    """Answers every row with its label."""

    def answer(self, template, item):
        return Said(item.label, right=True, score=1.0)

    def write(self, messages, most_tokens, temperature):
        return "Better."


def row(name, text, label="refund"):
    return Item(name, {"text": text}, label)


def bench_of(train, validation):
    return Bench(SPEC, Right(), train, validation, told=lambda look: None, on_progress=lambda spent, best: None)


def test_rows_that_read_alike_are_asked_once_and_the_written_prompt_still_wins():
    validation = [row("4", "money back"), row("5", "money back", "delivery"), row("6", "late parcel")]
    bench = bench_of([row("1", "my money"), row("2", "my money")], validation)

    for item in validation:
        bench.ask(bench.instruction, (), {"text": item.fields["text"]})

    assert bench.spent == 2
    assert bench.winner().look()["rows"] == 2
    assert [item.id for item in (*bench.train, *bench.validation)] == ["1", "4", "6"]


def test_a_row_that_judges_never_stands_in_the_prompt_as_an_example():
    bench = bench_of([row("1", "money back"), row("2", "late parcel", "delivery")], [row("4", "money back")])

    tally = bench.tally_of("Better.", [{"text": item.fields["text"], ANSWER: item.label} for item in bench.train])

    assert [shown.id for shown in tally.candidate.template.demonstrations] == ["2"]


def test_train_rows_that_all_read_like_validation_rows_are_refused():
    with pytest.raises(BadData, match="Every train row reads the same as a validation row"):
        bench_of([row("1", "money back")], [row("4", "money back")])

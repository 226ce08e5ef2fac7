"""DSPy's own optimisers on a scripted model: what they may spend, what is written down, what wins. Needs the extra `dspy`."""

import json

import pytest

from tests.workers.engine.fakes import make_backbone, make_items, make_run
from workers.engine.contract.spec import BackboneRef, EvaluateOn, FileRef, Item, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.errors import BadSpec, RunStopped, Unsupported
from workers.engine.execute import execute
from workers.engine.search.optimising import Said

pytestmark = pytest.mark.dspy
TEMPLATE = TemplateSpec(user="Sort it.\nMail: {{the text}}", answer_cue="\nQueue:")
BETTER = "Decide: refund or delivery?"


class Scripted:
    """Answers well once it is told the labels, else always the same; writes one good instruction whatever it is asked."""

    def __init__(self, *, writes=BETTER):
        self.writes, self.num_answers, self.num_texts = writes, 0, 0

    def answer(self, template, item):
        self.num_answers += 1
        knows = "refund or delivery" in template.system
        text = item.label if knows else "delivery"
        return Said(text, text == item.label, float(text == item.label), 10.0, 0.1, 0.0 if knows else 0.7)

    def write(self, messages, most_tokens, temperature):
        self.num_texts += 1
        asked = messages[-1]["content"]
        if "JSON" in asked or "json" in asked:
            names = ("new_instruction", "improved_instruction", "proposed_instruction")
            return json.dumps(dict.fromkeys(names, self.writes)) if self.writes else "I would rather not."
        fields = ("proposed_instruction", "observations", "summary", "completed")
        return "\n\n".join(f"[[ ## {name} ## ]]\n{self.writes}" for name in fields)


def rows(start, count):
    return [Item(str(at), {"the text": f"row {at} " + "x" * at}, "refund" if at % 2 else "delivery") for at in range(start, start + count)]


def search(optimizer, budget=200, model=None, template=TEMPLATE, on_progress=lambda spent, best: None):
    from workers.engine.search.by_dspy import found_on

    spec = RunSpec(
        id="search",
        backbone=BackboneRef("none"),
        template=template,
        evaluate=(EvaluateOn("test", FileRef("none")),),
        labels=("refund", "delivery"),
        train=FileRef("train"),
        validation=FileRef("validation"),
        recipe=Recipe("dspy_search", {"optimizer": optimizer, "budget": budget}),
    )
    looks = []
    model = model or Scripted()
    return found_on(spec, model, rows(0, 20), rows(100, 20), looks.append, on_progress), looks, model


@pytest.mark.parametrize("optimizer", ["gepa", "miprov2"])
def test_a_better_instruction_wins_and_every_prompt_that_was_tried_is_told(optimizer):
    found, looks, model = search(optimizer)

    assert "refund or delivery" in found.winner.template.system
    assert (found.facts["written_correct"], found.facts["winner_correct"]) == (10, 20)
    assert found.facts["spent"] == model.num_answers <= 200
    assert {look["number"] for look in looks} == set(range(found.facts["num_candidates"]))
    last = {look["number"]: look for look in looks}
    assert last[0]["name"] == "as written"
    assert last[0]["config"]["user"] == TEMPLATE.user
    assert (last[found.winner.number]["rows"], last[found.winner.number]["correct"]) == (20, 20)
    assert found.winner.template.user == "Mail: {{the text}}"


def test_examples_of_miprov2_are_train_rows():
    _, looks, _ = search("miprov2", 300)

    shown = [each for look in looks for each in look["config"]["demonstrations"]]
    assert shown
    assert all(int(each["id"]) < 20 and each["label"] == ("refund" if int(each["id"]) % 2 else "delivery") for each in shown)


@pytest.mark.parametrize("optimizer", ["gepa", "miprov2"])
@pytest.mark.parametrize("budget", [64, 90])
def test_the_budget_is_never_passed(optimizer, budget):
    found, _, model = search(optimizer, budget)

    assert model.num_answers <= budget
    assert found.facts["validation_rows"] <= max(8, budget // 8)


def test_an_optimiser_that_asks_for_more_than_the_budget_is_stopped(monkeypatch):
    """GEPA finishes the round that it is in; whatever is asked beyond the budget ends the search with what there is."""
    from workers.engine.search import by_dspy as dspy_search

    def greedy(bench, seed):
        for number in range(100):
            for item in bench.train:
                bench.ask(f"Wording {number}.", (), {name: item.fields[column] for column, name in bench.columns.items()})

    monkeypatch.setitem(dspy_search._OPTIMISERS, "gepa", greedy)

    found, _, model = search("gepa", 70)

    assert model.num_answers == found.facts["spent"] == 70
    assert found.winner.number == 0


@pytest.mark.parametrize("optimizer", ["gepa", "miprov2"])
def test_nothing_beats_the_written_prompt_where_nothing_is_better(optimizer):
    found, _, _ = search(optimizer, model=Scripted(writes="Sort."))

    assert found.winner.number == 0
    assert found.winner.template == TEMPLATE


@pytest.mark.parametrize("optimizer", ["gepa", "miprov2"])
def test_the_same_seed_asks_the_same(optimizer):
    assert search(optimizer)[1] == search(optimizer)[1]


def test_a_model_that_writes_no_instruction_is_refused_in_a_sentence():
    with pytest.raises(Unsupported, match="held no instruction that DSPy could read"):
        search("gepa", model=Scripted(writes=""))


@pytest.mark.parametrize("optimizer", ["gepa", "miprov2"])
def test_a_search_stops_when_it_is_asked_to(optimizer):
    def stop(spent, best):
        if spent == 30:
            raise RunStopped("The run was stopped as asked.")

    with pytest.raises(RunStopped):
        search(optimizer, on_progress=stop)


def test_a_prompt_without_words_of_its_own_is_refused():
    with pytest.raises(BadSpec, match="improves the words in front of the row"):
        search("gepa", template=TemplateSpec(user="{{the text}}"))


def test_a_backbone_searches_and_a_second_attempt_asks_it_nothing_again(tmp_path):
    """The tiny model writes noise, so GEPA is given up; what it said until then is known to the next attempt."""
    backbone = make_backbone("llama", max_position_embeddings=4096)
    backbone.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    template = TemplateSpec(user="Sort it.\nMessage: {{text}}", answer_cue="\nQueue:")
    asked = {"optimizer": "miprov2", "budget": 64, "num_examples": 0}
    run = make_run(tmp_path, backbone, "dspy_search", rows=12, options=asked, template=template, checkpoint_dir=str(tmp_path / "kept"))
    try:
        with pytest.raises(Unsupported, match="held no instruction"):
            execute(run)
        kept = (tmp_path / "kept" / "memory.jsonl").read_text()
        assert len(kept.splitlines()) > 8

        backbone.model.forward = None  # nobody may ask it again
        with pytest.raises(Unsupported, match="held no instruction"):
            execute(run)
        assert (tmp_path / "kept" / "memory.jsonl").read_text() == kept
    finally:
        del backbone.model.forward
        backbone.tokenizer.chat_template = None


def test_a_model_without_a_chat_template_cannot_write(tmp_path):
    template = TemplateSpec(user="Sort it.\nMessage: {{text}}")

    with pytest.raises(Unsupported, match="cannot write instructions"):
        execute(make_run(tmp_path, make_backbone("llama"), "dspy_search", template=template, options={"budget": 64}))


def test_rows_of_a_search_leave_room_for_several_prompts():
    from workers.engine.search.by_dspy import rows_to_try

    assert len(rows_to_try(make_items(400), 800, 0)) == 100
    assert len(rows_to_try(make_items(5), 800, 0)) == 5

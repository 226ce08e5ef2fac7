import json
from dataclasses import replace

import pytest

from tests.workers.engine.fakes import LABELS, TEMPLATE, make_backbone, make_items, make_run, make_spec, write_rows
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.spec import EvaluateOn, FileRef, Item, Recipe
from workers.engine.contract.template_spec import Demonstration, TemplateSpec, Variant
from workers.engine.errors import BadData, BadSpec, RunStopped
from workers.engine.execute import execute
from workers.engine.figures.halving import Rung, cost_of, plan_rungs
from workers.engine.prompts.variants import answer_words_of, instructions_of
from workers.engine.search.candidates import candidates_of

SMALL = {"budget": 300, "max_candidates": 12, "num_examples": 2}
LISTED = TemplateSpec(system="Sort into: card, card order, cash, transfer.", user="Message: {{text}}\n", answer_cue="Queue:")


def journal(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out" / "trials.jsonl").read_text().splitlines()]


def search_run(tmp_path, backbone=None, rows=60, **overrides):
    options = SMALL | overrides.pop("options", {})
    return make_run(tmp_path, backbone or make_backbone(), "prompt_search", rows=rows, options=options, **overrides)


@pytest.mark.parametrize("budget", [64, 500, 4096, 100_000])
@pytest.mark.parametrize("rows", [1, 20, 1000, 20_000])
def test_the_rounds_never_cost_more_than_the_budget(budget, rows):
    rungs = plan_rungs(budget, rows, 64)

    assert cost_of(rungs) <= budget
    assert rungs[-1].rows <= rows
    assert rungs == sorted(rungs, key=lambda rung: rung.rows)


def test_a_larger_budget_starts_more_candidates():
    assert plan_rungs(4096, 1000, 200)[0].candidates < plan_rungs(8192, 1000, 200)[0].candidates


def test_options_are_listed_in_other_ways_where_the_text_lists_them():
    systems = [each.system for each in instructions_of(LISTED, (), LABELS)]

    assert "Sort into: \n- card\n- card order\n- cash\n- transfer." in systems
    assert "Sort into: card | card order | cash | transfer." in systems


def test_options_are_added_where_the_text_does_not_list_them():
    base = TemplateSpec(user="What is it about?\n\n{{text}}")

    assert any("Choose from: card, card order, cash, transfer." in each.system for each in instructions_of(base, (), LABELS))


def test_a_block_with_a_slot_is_never_dropped():
    base = TemplateSpec(user="Read this.\n\nMessage: {{text}}\n\nWhich queue?", system="Be quick.")
    edits = instructions_of(base, (), LABELS)

    assert all("{{text}}" in each.user for each in edits)
    assert any(each.user == "Message: {{text}}\n\nWhich queue?" for each in edits)
    assert any(each.user == "Which queue?\n\nRead this.\n\nMessage: {{text}}" for each in edits)


def test_answer_words_that_two_labels_would_share_are_left_out():
    sets = dict(answer_words_of(LABELS, {}, ()))

    assert "one-word answers" not in sets  # "card" and "card order" would both say "card"


def test_the_same_run_makes_the_same_candidates_in_the_same_order():
    spec = make_spec(recipe=Recipe("prompt_search", {"max_candidates": 40}), train=FileRef("x"), validation=FileRef("y"))

    first, again = (candidates_of(spec, make_items(30), is_chat=False) for _ in range(2))

    assert [each.sha256 for each in first] == [each.sha256 for each in again]
    assert len({each.sha256 for each in first}) == 40
    assert first[0].template == TEMPLATE


def test_peoples_own_variants_are_tried_as_they_are():
    mine = TemplateSpec(user="My words: {{text}}", answer_cue="\nGo:", demonstrations=(Demonstration({"text": "mine"}, "cash"),))
    spec = make_spec(
        recipe=Recipe("prompt_search"),
        train=FileRef("x"),
        validation=FileRef("y"),
        variants=(Variant("Mine v1", mine, {"cash": ("money",)}),),
    )

    second = candidates_of(spec, make_items(30), is_chat=False)[1]

    assert (second.name, second.template, second.answer_words["cash"]) == ("Mine v1 as written", mine, ("money",))


def test_examples_come_from_train_rows_alone(tmp_path):
    train = write_rows(tmp_path / "train.jsonl", [Item(f"t{i}", {"text": f"train {i}"}, LABELS[i % 4]) for i in range(8)])

    execute(search_run(tmp_path, train=train))

    shown = {each["id"] for look in journal(tmp_path) for each in look["config"]["demonstrations"]}
    assert shown
    assert shown <= {f"t{i}" for i in range(8)}


def test_the_winner_is_never_worse_on_the_rows_it_was_chosen_by(tmp_path):
    result = execute(search_run(tmp_path))

    search = result.written["search"]
    assert search["winner_correct"] >= search["written_correct"]
    assert search["spent"] <= search["budget"]
    assert search["rungs"][-1]["rows"] == search["validation_rows"]
    assert result.training is not None
    assert result.training.train_seconds == pytest.approx(sum({look["number"]: look["seconds"] for look in journal(tmp_path)}.values()))


def test_the_winner_answers_the_rows(tmp_path):
    run = search_run(tmp_path, keep_prompts=True)

    result = execute(run)

    wording = result.written["search"]["wording"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions-test.jsonl").read_text().splitlines()]
    user = wording["user"].split("{{text}}")[0]
    assert all(user in line["prompt"] and line["prompt"].endswith(wording["answer_cue"].strip()) for line in lines)


def test_each_candidate_is_scored_as_a_run_of_its_own_would(tmp_path):
    execute(search_run(tmp_path / "search"))
    last = journal(tmp_path / "search")[-1]
    template = TemplateSpec.from_json({key: last["config"][key] for key in ("system", "user", "answer_cue", "demonstrations")})
    alone = execute(make_run(tmp_path / "alone", make_backbone(), rows=60, template=template, answer_words=last["config"]["answer_words"]))

    assert last["rows"] == 60
    assert last["correct"] == alone.metrics["test"].correct
    assert last["loss"] == pytest.approx(alone.metrics["test"].log_loss, abs=1e-4)


def test_a_stopped_search_goes_on_where_it_was(tmp_path):
    whole = execute(search_run(tmp_path / "whole"))
    calls = []

    def stop_later():
        calls.append(1)
        return len(calls) > 8

    with pytest.raises(RunStopped):
        execute(search_run(tmp_path / "half", should_stop=stop_later))
    before = journal(tmp_path / "half")
    kept = tmp_path / "kept.jsonl"
    kept.write_text("".join(json.dumps(look) + "\n" for look in before))
    result = execute(search_run(tmp_path / "rest", trials=FileRef(str(kept))))

    assert 0 < len(before) < len(journal(tmp_path / "whole"))
    assert journal(tmp_path / "rest")[: len(before)] == before  # the same seconds: nothing was measured again
    assert result.written["search"]["winner"] == whole.written["search"]["winner"]


def test_looks_at_other_words_or_rows_are_not_taken_over(tmp_path):
    execute(search_run(tmp_path / "first"))
    old = journal(tmp_path / "first")
    kept = tmp_path / "kept.jsonl"
    kept.write_text("".join(json.dumps(look | {"sha256": "0" * 64, "correct": 0}) + "\n" for look in old))

    execute(search_run(tmp_path / "again", trials=FileRef(str(kept))))

    assert [look["correct"] for look in journal(tmp_path / "again")] == [look["correct"] for look in old]


def test_a_candidate_that_does_not_fit_is_recorded_and_passed_over(tmp_path):
    long = Variant("Long", TemplateSpec(user="too long " * 200 + "{{text}}"))

    execute(search_run(tmp_path, variants=(long,)))

    problems = [look for look in journal(tmp_path) if look["problem"]]
    assert problems[0]["name"] == "Long as written"
    assert all(look["rung"] == 0 for look in problems)


def test_a_search_for_free_answers_goes_by_their_likelihood(tmp_path):
    result = execute(search_run(tmp_path, task="extraction", labels=(), rows=20, options={"budget": 100}))

    search = result.written["search"]
    assert search["winner_correct"] is None
    assert search["winner_loss"] <= search["written_loss"]


FREE = {"task": "extraction", "labels": ()}


def long_references(tmp_path, *places):
    """Rows whose references at these places are longer than the tiny model reads."""
    items = [Item(item.id, item.fields, "a city " * 300 if at in places else "a city") for at, item in enumerate(make_items(6))]
    return write_rows(tmp_path / "long.jsonl", items)


def test_a_reference_that_no_answer_can_hold_chooses_no_prompt(tmp_path):
    rows = long_references(tmp_path, 1, 3)

    result = execute(search_run(tmp_path, validation=rows, evaluate=(EvaluateOn("test", rows),), **FREE))

    assert result.written["search"]["validation_rows"] == 4
    assert any("longer than the 32 tokens of an answer: 2. They chose no prompt" in said for said in result.warnings)
    assert any("longer than the 32 tokens of an answer: 2. None can be right" in said for said in result.warnings)


def test_references_that_are_all_too_long_are_refused(tmp_path):
    with pytest.raises(BadData, match="The reference of every validation row is longer than the 32 tokens"):
        execute(search_run(tmp_path, validation=long_references(tmp_path, *range(6)), **FREE))


def test_the_budget_counts_every_prompt_on_every_row_once(tmp_path, monkeypatch):
    original, answered = Scorer.score, []

    def counting(self, rows):
        if self.on_rows is not None:  # the two rows that are tried to learn what the model can share are no evaluations
            answered.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(Scorer, "score", counting)
    run = search_run(tmp_path)
    run = replace(run, spec=replace(run.spec, evaluate=(EvaluateOn("test", write_rows(tmp_path / "few.jsonl", make_items(3))),)))

    found = execute(run).written["search"]

    assert found["spent"] == sum(answered) - 3 <= found["budget"]
    assert found["spent"] == cost_of([Rung(**rung) for rung in found["rungs"]])


def test_a_budget_for_fewer_prompts_than_there_are_is_named(tmp_path):
    result = execute(search_run(tmp_path, options={"budget": 64}))

    tried = result.written["search"]["num_candidates"]
    assert tried < 12
    assert f"The budget of 64 evaluations is enough to try {tried} of 12 prompts. Raise it to try the others." in result.warnings


def test_fewer_wordings_than_configurations_are_named(tmp_path):
    result = execute(make_run(tmp_path, make_backbone(), options={"configurations": 64}))

    tried = result.written["search"]["num_candidates"]
    assert f"The rules make {tried} different wordings of this prompt, fewer than the 64 to be tried." in result.warnings


def test_a_search_without_validation_rows_is_refused(tmp_path):
    with pytest.raises(BadSpec, match="chooses on validation rows"):
        search_run(tmp_path, validation=None)

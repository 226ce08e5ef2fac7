"""A prompt of two steps: the second one reads what the first one wrote, and tokens and time are those of both."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workers.engine.fakes import LABELS, TEMPLATE, make_backbone, make_items, make_run, make_spec, write_rows
from workers.engine.building import build_approach
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.latency_spec import LatencySpec
from workers.engine.contract.outcome import Prediction
from workers.engine.contract.spec import EvaluateOn, Item, Recipe, RunSpec
from workers.engine.contract.template_spec import Demonstration, FirstStep, TemplateSpec
from workers.engine.errors import BadData, BadSpec, Unsupported
from workers.engine.execute import execute
from workers.engine.latency import time_approaches
from workers.engine.prompts.chain import Chained
from workers.engine.serving.answerer import Answerer

THINK = FirstStep("What does the customer want? {{text}}\nIn short:", Generation(max_new_tokens=6, stop=("\n",)))
CHAIN = TemplateSpec(user="Wish: {{step_1}}\nMessage: {{text}}\n", answer_cue="Queue:", first_step=THINK)


def predictions_of(run):
    execute(run)
    return [json.loads(line) for line in (run.out / "predictions-test.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("free", [False, True])
def test_each_step_is_what_it_would_be_alone(tmp_path, free):
    """The first step as a run of its own, then its texts as a column of the second one's rows."""
    backbone = make_backbone("llama")
    task: dict[str, Any] = {"task": "extraction", "labels": ()} if free else {}
    whole = predictions_of(make_run(tmp_path / "whole", backbone, template=CHAIN, keep_prompts=True, **task))
    alone: dict[str, Any] = {"task": "extraction", "labels": (), "template": TemplateSpec(THINK.user), "generation": THINK.writing}
    wrote = predictions_of(make_run(tmp_path / "first", backbone, **alone))
    items = [replace(item, fields={**item.fields, "step_1": said["text"]}) for item, said in zip(make_items(), wrote, strict=True)]
    rows = write_rows(tmp_path / "second.jsonl", items)
    second = replace(CHAIN, first_step=None)
    answered = predictions_of(
        make_run(tmp_path / "second", backbone, template=second, evaluate=(EvaluateOn("test", rows),), keep_prompts=True, **task)
    )

    assert any(said["text"] for said in wrote)
    assert [row["first_text"] for row in whole] == [said["text"] for said in wrote]
    for name in ("predicted", "loglikelihoods", "prompt"):
        assert [row[name] for row in whole] == [said[name] for said in answered]
    for name in ("prompt_tokens", "completion_tokens", "computed_tokens"):
        assert [row[name] for row in whole] == [one[name] + two[name] for one, two in zip(wrote, answered, strict=True)]
    assert whole[0]["first_prompt"].startswith("What does the customer want? my card does not work")


def test_the_result_says_how_long_the_first_texts_were(tmp_path):
    result = execute(make_run(tmp_path, make_backbone("gpt2"), template=CHAIN))

    assert result.written["first_step"]["rows"] == 12
    assert 0 < result.written["first_step"]["mean_tokens"] <= 6
    assert not any("Answers cut" in said for said in result.warnings)  # the first step's texts are no answers
    assert {"first_step", "opening_tokens"} <= set(result.frame)
    assert result.metrics["test"].mean_tokens["completion_tokens"] > result.written["first_step"]["mean_tokens"]


def test_a_first_text_that_ended_with_its_last_token_is_not_counted_at_the_limit():
    class Told:
        frame = SimpleNamespace(spec=SimpleNamespace(too_long="skip"))

        def predict(self, items, on_rows):
            return [Prediction(item.id, item.label, completion_tokens=3, was_cut=item.id == "row-0") for item in items]

        def facts(self):
            return {"frame": {}, "shared_prefix": "shared"}

    chained: Any = Chained(Told(), Told())  # type: ignore[arg-type]
    chained.predict(make_items(4), lambda done: None)

    assert chained.facts()["written"]["first_step"] == {"rows": 4, "mean_tokens": 3.0, "at_limit": 1}


def test_examples_in_the_prompt_get_a_first_step_too(tmp_path):
    """The model must read an example as it reads its own row."""
    shown = (Demonstration({"text": "the machine kept my cash"}, "cash"),)
    run = make_run(tmp_path, make_backbone("llama"), template=replace(CHAIN, demonstrations=shown), keep_prompts=True)

    example = Item("row-0", {"text": "the machine kept my cash"}, "cash")
    alone = make_run(
        tmp_path / "alone",
        make_backbone("llama"),
        template=CHAIN,
        evaluate=(EvaluateOn("test", write_rows(tmp_path / "one.jsonl", [example])),),
    )

    wish = predictions_of(alone)[0]["first_text"]
    assert predictions_of(run)[0]["prompt"].startswith(f"Wish: {wish}\nMessage: the machine kept my cash\nQueue: cash\n\nWish: ")


def test_a_served_request_takes_both_steps(tmp_path):
    """What a warm approach answers is the score of the label that the batch chose."""
    backbone = make_backbone("llama")
    run = make_run(tmp_path, backbone, template=CHAIN)
    approach = build_approach(run)
    item = make_items(1)[0]
    said = approach.predict([item], lambda done: None)[0]

    answer: Any = approach.warm()(item)

    scores = list(said.loglikelihoods.values())
    assert answer.flatten().tolist() == pytest.approx(scores, abs=1e-4)


def test_single_requests_of_two_steps_are_timed(tmp_path):
    backbone = make_backbone("llama")
    run = make_run(tmp_path, backbone, template=CHAIN)

    report = time_approaches(LatencySpec((run.spec,), requests=5, patience_seconds=0.0), tmp_path / "out", provide=lambda ref: backbone)

    assert report.approaches["test"].rows == 5 or report.withheld


def test_rows_that_fit_into_both_prompts_can_be_asked(tmp_path):
    template = replace(CHAIN, user="Wish: {{step_1}}\n{{more}}\n")
    approach = build_approach(make_run(tmp_path, make_backbone("llama"), template=template, too_long="skip"))
    long = "card " * 600
    rows = [Item(name, {"text": text, "more": more}, "card") for name, text, more in (("a", "x", "y"), ("b", long, "y"), ("c", "x", long))]

    assert [item.id for item in approach.answerable(rows)] == ["a"]


def test_progress_counts_each_row_once(tmp_path):
    told = []
    run = make_run(tmp_path, make_backbone("llama"), template=CHAIN, on_progress=told.append)

    execute(run)

    rows = [progress.rows for progress in told if progress.phase == "scoring"]
    assert rows == sorted(rows)
    assert rows[-1] == 12


def test_a_row_too_long_for_the_first_step_is_left_out(tmp_path):
    long = Item("long", {"text": "card " * 600}, "card")
    rows = write_rows(tmp_path / "long.jsonl", [*make_items(3), long])

    told = predictions_of(make_run(tmp_path, make_backbone("llama"), template=CHAIN, too_long="skip", evaluate=(EvaluateOn("test", rows),)))

    assert [row["skipped"] for row in told] == [False, False, False, True]
    assert "first_text" not in told[3]


def test_a_column_that_only_the_first_step_shows_can_be_cut(tmp_path):
    long = Item("long", {"text": "card " * 600}, "card")
    rows = write_rows(tmp_path / "long.jsonl", [*make_items(3), long])
    template = replace(CHAIN, user="Wish: {{step_1}}\n")

    told = predictions_of(
        make_run(
            tmp_path,
            make_backbone("llama"),
            template=template,
            too_long="truncate",
            truncate_column="text",
            evaluate=(EvaluateOn("test", rows),),
        )
    )

    assert [row["error"] for row in told] == [None] * 4


def test_a_row_that_could_never_be_answered_is_refused_before_anything_is_written(tmp_path):
    rows = write_rows(tmp_path / "long.jsonl", [Item("long", {"text": "short", "more": "card " * 600}, "card")])
    template = replace(CHAIN, user="Wish: {{step_1}}\n{{more}}\n")
    told = []
    run = make_run(tmp_path, make_backbone("llama"), template=template, evaluate=(EvaluateOn("test", rows),), on_progress=told.append)

    with pytest.raises(BadData, match="Shorten it"):
        execute(run)
    assert not [progress for progress in told if progress.phase == "scoring" and progress.rows]


@pytest.mark.parametrize("family", ["llama", "t5", "mamba"])
def test_families_that_run_rows_whole_can_think_first(tmp_path, family):
    told = predictions_of(make_run(tmp_path, make_backbone(family), rows=4, template=CHAIN))

    assert all(row["predicted"] in LABELS and "first_text" in row for row in told)


def test_a_baseline_reads_the_columns_of_both_steps(tmp_path):
    template = replace(CHAIN, user="Wish: {{step_1}}\n")

    result = execute(make_run(tmp_path, make_backbone("llama"), "tfidf_logreg", template=template))

    assert result.metrics["test"].accuracy == 1.0


@pytest.mark.parametrize(
    ("user", "first", "sentence"),
    [
        ("{{text}}", "Think: {{text}}", r"no slot \{\{step_1"),
        ("{{step_1}}", "Think.", "needs the slot of a column"),
        ("{{step_1}}", "{{step_1}} {{text}}", r"cannot show \{\{step_1"),
    ],
)
def test_steps_that_do_not_fit_together_are_refused(user, first, sentence):
    with pytest.raises(BadSpec, match=sentence):
        TemplateSpec.from_json({"user": user, "first_step": {"user": first}})


@pytest.mark.parametrize("method", ["drawn_examples", "label_bias", "prompt_search", "prompt_tuning", "lora"])
def test_every_other_method_refuses_a_first_step(method):
    rows = {"train": "rows.jsonl", "validation": "rows.jsonl"}

    with pytest.raises(BadSpec, match=f"{method} answers in one step"):
        RunSpec.from_json({**make_spec(template=CHAIN).to_json(), **rows, "recipe": {"method": method, "options": {}}})


def test_one_configuration_is_all_that_two_steps_try(tmp_path):
    with pytest.raises(BadSpec, match="A prompt of two steps is not reworded"):
        make_run(tmp_path, make_backbone(), template=CHAIN, options={"configurations": 2})


@pytest.mark.parametrize("score", ["mean", "prior_corrected"])
def test_the_answer_of_two_steps_may_be_chosen_by_another_score(tmp_path, score):
    backbone = make_backbone("llama")
    usual = predictions_of(make_run(tmp_path / "usual", backbone, template=CHAIN))

    other = predictions_of(make_run(tmp_path / "other", backbone, template=CHAIN, options={"score": score}))

    assert [row["predicted"] for row in other] == [row["by_rule"][score] for row in usual]


def test_a_prompt_of_two_steps_is_not_served_beside_others():
    backbone = make_backbone("llama")

    with pytest.raises(Unsupported, match="wish answers in two steps"):
        Answerer(backbone).load("wish", make_spec(template=CHAIN))


def test_a_spec_with_a_first_step_survives_its_way_over_json():
    spec = make_spec(template=CHAIN, recipe=Recipe("hard_prompt"))

    assert RunSpec.from_json(spec.to_json()) == spec
    assert RunSpec.from_json(make_spec(template=TEMPLATE).to_json()).template == TEMPLATE

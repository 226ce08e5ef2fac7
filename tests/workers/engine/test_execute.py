import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.workers.engine.fakes import LABELS, make_backbone, make_items, make_run, save_model, write_rows
from workers.engine import execute as chapters
from workers.engine.contract.answer_rules import AnswerFormat, Generation
from workers.engine.contract.outcome import Prediction, Progress
from workers.engine.contract.spec import EvaluateOn, RunSpec
from workers.engine.errors import BadData, BadSpec, OutOfMemory, RunStopped, TimeLimit
from workers.engine.execute import execute

CONTRACT_KEYS = {
    "id", "expected", "predicted", "loglikelihoods", "text", "prompt_tokens", "virtual_tokens", "completion_tokens", "seconds", "error"
}  # fmt: skip


def predictions(folder: Path):
    return [json.loads(line) for line in (folder / "out" / "predictions-test.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("method", ["hard_prompt", "prompt_tuning", "lora", "majority", "label_overlap", "tfidf_logreg", "linear_probe"])
def test_every_approach_sees_the_same_rows_in_the_same_order(tmp_path, method):
    result = execute(make_run(tmp_path, make_backbone(), method))

    lines = predictions(tmp_path)
    assert [line["id"] for line in lines] == [item.id for item in make_items(12)]
    assert all(set(line["loglikelihoods"]) == set(LABELS) for line in lines)
    assert all(line.keys() >= CONTRACT_KEYS for line in lines)
    assert result.metrics["test"].n == 12
    assert result.metrics["test"].correct == sum(line["predicted"] == line["expected"] for line in lines)


def test_a_result_says_all_that_the_contract_asks(tmp_path):
    run = make_run(tmp_path, make_backbone(), "prompt_tuning", keep_prompts=True)

    execute(run)

    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["state"] == "succeeded"
    assert result["parameters"]["trainable"] == 20 * 32
    assert {"load", "train", "score"} <= set(result["timings"])
    assert result["shared_prefix"] == "shared"
    assert result["backbone"]["fingerprint"]
    assert {"torch", "transformers", "peft"} <= set(result["versions"])
    assert [point["step"] for point in result["training"]["curve"]] == [0, 3, 6]
    assert predictions(tmp_path)[0]["prompt"].endswith("Queue:")


def test_a_skipped_row_counts_as_wrong_and_is_named(tmp_path):
    rows = write_rows(tmp_path / "long.jsonl", [*make_items(3), *(_long("big"),)])
    run = make_run(tmp_path, make_backbone(), too_long="skip", evaluate=(EvaluateOn("test", rows),))

    metrics = execute(run).metrics["test"]

    assert (metrics.n, metrics.skipped) == (4, 1)
    assert "at most" in predictions(tmp_path)[3]["error"]
    assert predictions(tmp_path)[3]["predicted"] is None


def _long(name):
    from workers.engine.contract.spec import Item

    return Item(name, {"text": "word " * 400}, "card")


def test_stopping_half_way_leaves_no_half_artifact(tmp_path):
    steps: list[Progress] = []

    def stop_after_two_steps():
        return len(steps) > 3

    run = make_run(tmp_path, make_backbone(), "lora", on_progress=steps.append, should_stop=stop_after_two_steps)
    before = run.provide(run.spec.backbone).fingerprint()

    with pytest.raises(RunStopped):
        execute(run)

    assert list((tmp_path / "out").iterdir()) == []
    assert run.provide(run.spec.backbone).fingerprint() == before


def test_a_run_that_takes_too_long_ends_with_a_sentence(tmp_path):
    with pytest.raises(TimeLimit, match="longer than the 0 seconds"):
        execute(make_run(tmp_path, make_backbone(), "lora", time_limit_seconds=0.0))


@pytest.mark.parametrize("stage", ["build_approach", "target_metrics", "write_predictions"])
def test_a_crash_at_any_stage_is_a_failure_and_never_a_stop(tmp_path, monkeypatch, stage):
    def crash(*args, **kwargs):
        raise ZeroDivisionError("injected")

    monkeypatch.setattr(chapters, stage, crash)
    backbone = make_backbone()
    before = backbone.fingerprint()

    with pytest.raises(ZeroDivisionError):
        execute(make_run(tmp_path, backbone, "ia3"))

    assert backbone.fingerprint() == before
    assert not (tmp_path / "out" / "result.json").exists()


def test_lack_of_memory_is_one_sentence(tmp_path, monkeypatch):
    def greedy(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(chapters, "build_approach", greedy)

    with pytest.raises(OutOfMemory, match="ran out of memory"):
        execute(make_run(tmp_path, make_backbone()))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no rows"),
        ("{not json", "Row 1 of bad.jsonl is not JSON"),
        ('{"id": "1", "fields": {"text": "a"}}', '"id", "fields" and "label"'),
        ('{"id": "1", "fields": {"text": "a"}, "label": ""}', "Row 1 of bad.jsonl: the label is empty"),
        ('{"id": "1", "fields": {"text": "a"}, "label": "pear"}', "'pear' is not one of the 4 labels"),
        ('{"id": "1", "fields": {"text": 3}, "label": "cash"}', "the column 'text' must be text, not int"),
        ('{"id": "1", "fields": {"text": "a"}, "label": "cash"}\n' * 2, "uses a row id twice"),
    ],
)
def test_bad_rows_are_refused_with_row_and_cause(tmp_path, content, sentence):
    (tmp_path / "bad.jsonl").write_text(content, encoding="utf-8")
    from workers.engine.contract.spec import FileRef

    run = make_run(tmp_path, make_backbone(), evaluate=(EvaluateOn("test", FileRef(str(tmp_path / "bad.jsonl"))),))

    with pytest.raises(BadData, match=sentence):
        execute(run)


@pytest.mark.parametrize("task", ["classification", "extraction"])
def test_rows_without_labels_are_answered_and_no_figure_says_how_well(tmp_path, task):
    bare = write_rows(tmp_path / "bare.jsonl", [replace(item, label="") for item in make_items(6)])
    asked = {"task": task, "labels": LABELS if task == "classification" else ()}

    result = execute(make_run(tmp_path, make_backbone(), evaluate=(EvaluateOn("test", bare, labelled=False),), **asked))

    found = result.metrics["test"]
    assert (found.n, found.errors) == (6, 0)
    assert found.mean_tokens["prompt_tokens"] > 0
    assert (found.accuracy, found.correct, found.macro_f1, found.log_loss, found.exact_match) == (None,) * 5
    assert found.per_label == {}
    assert all(line["predicted"] is not None for line in predictions(tmp_path))


def test_a_label_among_rows_without_labels_is_refused(tmp_path):
    rows = write_rows(tmp_path / "bare.jsonl", make_items(2))

    with pytest.raises(BadData, match=r"Row 1 of bare\.jsonl has the label 'card', but its rows are read as unlabelled"):
        execute(make_run(tmp_path, make_backbone(), evaluate=(EvaluateOn("test", rows, labelled=False),)))


def test_a_changed_file_is_refused(tmp_path):
    data = write_rows(tmp_path / "data.jsonl", make_items(2))
    run = make_run(tmp_path, make_backbone(), evaluate=(EvaluateOn("test", replace(data, sha256="0" * 64)),))

    with pytest.raises(BadData, match="SHA-256 differs"):
        execute(run)


def test_bytes_that_are_not_text_are_refused(tmp_path):
    from workers.engine.contract.spec import FileRef

    (tmp_path / "image.jsonl").write_bytes(b"\x89PNG\r\n\xff\xfe")
    run = make_run(tmp_path, make_backbone(), evaluate=(EvaluateOn("test", FileRef(str(tmp_path / "image.jsonl"))),))

    with pytest.raises(BadData, match="is not UTF-8 text"):
        execute(run)


def test_texts_of_every_script_and_size_are_answered(tmp_path):
    from workers.engine.contract.spec import Item

    texts = ["", " ", "\n\n", "é 我 😀", "{{text}} {% raw %}", "</s><s>", "a" * 90]
    rows = write_rows(tmp_path / "odd.jsonl", [Item(str(i), {"text": text}, "cash") for i, text in enumerate(texts)])

    metrics = execute(make_run(tmp_path, make_backbone(), evaluate=(EvaluateOn("test", rows),))).metrics["test"]

    assert (metrics.n, metrics.errors) == (len(texts), 0)


@pytest.mark.parametrize("score", ["mean", "prior_corrected"])
def test_other_scores_are_recorded_beside_the_sums(tmp_path, score):
    execute(make_run(tmp_path, make_backbone(), options={"score": score}))

    for line in predictions(tmp_path):
        assert line["predicted"] == max(line["scores"], key=line["scores"].get)
        assert line["scores"] != line["loglikelihoods"]


@pytest.mark.parametrize("method", ["hard_prompt", "drawn_examples", "prompt_search"])
@pytest.mark.parametrize("too_long", ["refuse", "skip"])
def test_answers_that_fill_the_model_are_refused_by_their_length(tmp_path, method, too_long):
    rules: dict[str, Any] = {"task": "extraction", "labels": (), "too_long": too_long, "generation": Generation(max_new_tokens=4000)}

    with pytest.raises(BadSpec, match="The 4,000 tokens that a written text may have leave no room for a row: the model reads 256 tokens"):
        execute(make_run(tmp_path, make_backbone(), method, **rules))


def test_extraction_trains_writes_and_measures_free_text(tmp_path):
    rules: dict[str, Any] = {"generation": Generation(max_new_tokens=5), "answer_format": AnswerFormat(max_characters=8)}
    run = make_run(tmp_path, make_backbone("gpt2"), "prompt_tuning", task="extraction", labels=(), **rules)

    result = execute(run)

    metrics = result.metrics["test"]
    assert metrics.exact_match == metrics.accuracy
    lines = predictions(tmp_path)
    for figure, name in ((metrics.token_f1, "token_f1"), (metrics.chrf, "chrf"), (metrics.format_share, "format")):
        assert figure == pytest.approx(sum(line["quality"][name] for line in lines) / 12)
    assert all((line["quality"]["format"] == 1.0) == (len(line["text"]) <= 8) for line in lines)
    assert all(line["completion_tokens"] <= 5 for line in lines)
    cut = sum(line.get("was_cut", False) for line in lines)
    assert cut
    assert f"Answers cut after 5 tokens, before they had ended: {cut} of 12." in result.warnings
    assert [point.validation_accuracy for point in result.training.curve] == [None] * 3


def test_a_model_folder_runs_from_disk(tmp_path):
    run = make_run(tmp_path, make_backbone())
    folder = save_model(tmp_path / "model", "bert")
    from workers.engine.contract.spec import BackboneRef
    from workers.engine.model.backbone import load_backbone

    run.provide = lambda ref: load_backbone(BackboneRef(str(folder), dtype="fp32", device="cpu"))

    assert execute(run).metrics["test"].n == 12


def test_a_spec_survives_json():
    spec = RunSpec.from_file(Path("workers/engine/example_spec.json"))

    assert RunSpec.from_json(spec.to_json()) == spec
    assert Prediction("1", "a").to_json()["error"] is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": ["one"]}, "at least two labels; this one has 1"),
        ({"labels": ["a", "a"]}, "names a label twice"),
        ({"answer_words": {"pear": ["x"]}}, "'pear', which is not one of the labels"),
        ({"answer_words": {"cash": [" "]}}, "answer word of the label 'cash' is empty"),
        ({"template": {"user": "no slot"}}, "has no slot"),
        ({"recipe": {"method": "magic"}}, "There is no method 'magic'"),
        ({"recipe": {"method": "lora", "options": {"rang": 1}}}, "has no option 'rang'"),
        ({"recipe": {"method": "lora", "options": {"learning_rate": 1e6}}}, "must lie between"),
        ({"recipe": {"method": "lora", "options": {"rank": 2.5}}}, "must be a whole number"),
        ({"recipe": {"method": "lora", "options": {"rank": "8"}}}, "must be a whole number"),
        ({"train": None}, "learns from rows"),
        ({"evaluate": []}, None),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"recipe": {"method": "hard_prompt", "options": {"score": "best"}}}, "must be one of: sum, mean"),
        ({"task": "extraction", "recipe": {"options": {"score": "mean"}}}, "no score chooses them"),
        ({"label_bias": {"cash": 1.0}}, "one number for each label"),
        ({"recipe": {"method": "label_bias"}, "train": None}, "learns from rows"),
        ({"backbone": {"source": "a/b", "revision": "main"}}, "can move"),
        ({"too_long": "truncate", "truncate_column": "title"}, "has no such slot"),
        ({"template": "text"}, "must be a JSON object, not str"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused_with_a_sentence(change, sentence):
    value = json.loads(Path("workers/engine/example_spec.json").read_text(encoding="utf-8")) | change

    if sentence is None:
        RunSpec.from_json(value)
        return
    with pytest.raises(BadSpec, match=sentence):
        RunSpec.from_json(value)

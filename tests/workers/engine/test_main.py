import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.engine.fakes import make_items, save_model, write_rows
from workers.engine.__main__ import main

ROOT = Path(__file__).parents[3]


def example(**changes):
    return json.loads((ROOT / "workers/engine/example_spec.json").read_text(encoding="utf-8")) | changes


def test_a_spec_runs_from_the_command_line(tmp_path, capsys):
    rows = write_rows(tmp_path / "rows.jsonl", make_items(6))
    spec = example(
        backbone=str(save_model(tmp_path / "model")),
        labels=["card", "card order", "cash", "transfer"],
        answer_words={},
        recipe="hard_prompt",
        train=None,
        evaluate=[{"name": "test", "file": rows.path}],
    )
    spec["template"]["demonstrations"] = []
    (tmp_path / "spec.json").write_text(json.dumps(spec))

    assert main(["run", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]) == 0
    assert "of 6 correct" in capsys.readouterr().out
    plain, named = ((tmp_path / "out" / name).read_text() for name in ("predictions.jsonl", "predictions-test.jsonl"))
    assert plain == named
    assert plain.count("\n") == 6

    spec["evaluate"] = [{"name": name, "file": rows.path} for name in ("first", "second")]
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    assert main(["run", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "predictions.jsonl").exists(), "of several files none is the plain one"


@pytest.mark.slow
def test_the_example_spec_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)

    assert main(["run", "workers/engine/example_spec.json", "--out", str(tmp_path)]) == 0

    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len((ROOT / "workers/engine/example_test.jsonl").read_text(encoding="utf-8").splitlines())
    assert json.loads((tmp_path / "result.json").read_text())["state"] == "succeeded"
    assert (tmp_path / "artifact" / "adapter_config.json").is_file()


def test_requests_of_several_prompts_are_answered_from_the_command_line(tmp_path, capsys, monkeypatch):
    model = save_model(tmp_path / "model")
    spec = example(labels=["card", "cash"], answer_words={}, recipe="hard_prompt", train=None)
    spec["template"]["demonstrations"] = []
    (tmp_path / "queue.json").write_text(json.dumps(spec))
    (tmp_path / "short.json").write_text(json.dumps(spec | {"task": "extraction", "labels": []}))
    lines = [json.dumps({"id": name, "prompt": name, "fields": {"text": "my card"}}) for name in ("queue", "short", "other")]
    monkeypatch.setattr("sys.stdin", lines)
    prompts = ["--prompt", str(tmp_path / "queue.json"), "--prompt", f"short={tmp_path / 'short.json'}"]

    assert main(["answer", "--model", str(model), "--dtype", "fp32", "--max-new-tokens", "3", *prompts]) == 0

    queue, short, other = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert queue["label"] in ("card", "cash")
    assert isinstance(short["text"], str)
    assert other["error"] == "No prompt is loaded as 'other'. Loaded: queue, short."


def test_two_prompts_of_one_name_are_refused_before_the_model_is_loaded(capsys):
    assert main(["answer", "--model", "none", "--artifact", "a/artifact", "--artifact", "b/artifact"]) == 2
    assert capsys.readouterr().err == "Two prompts are called artifact. Name them apart: NAME=PATH.\n"


def test_a_fault_is_one_sentence_and_exit_code_two(tmp_path, capsys):
    (tmp_path / "spec.json").write_text(json.dumps(example(labels=["one"])))

    assert main(["run", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "A classification needs at least two labels; this one has 1.\n"


def test_reading_a_spec_needs_no_torch():
    code = "import sys; from workers.engine.contract import outcome, recipes, spec; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

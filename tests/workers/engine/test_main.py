import json
import subprocess
import sys
from pathlib import Path

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
    assert (tmp_path / "out" / "predictions-test.jsonl").is_file()
    assert "of 6 correct" in capsys.readouterr().out


def test_a_fault_is_one_sentence_and_exit_code_two(tmp_path, capsys):
    (tmp_path / "spec.json").write_text(json.dumps(example(labels=["one"])))

    assert main(["run", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "A classification needs at least two labels; this one has 1.\n"


def test_reading_a_spec_needs_no_torch():
    code = "import sys, workers.engine.spec, workers.engine.recipes, workers.engine.outcome; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

"""Which measures run, when none does, and that both sides of each find the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.bench import __main__ as bench
from workers.bench import machine, tuning
from workers.bench.gates import GATES
from workers.bench.lab import FULL, QUICK, Lab
from workers.bench.protocol import Entry, Rules
from workers.bench.serving import KINDS
from workers.bench.shapes import SMALL, SMOL_135M
from workers.bench.tuning_peers import EXAMPLE
from workers.bench.tuning_task import Task, Trained
from workers.engine.passes.batching import Lines

ROOT = Path(__file__).parents[3]


def test_every_measure_has_its_gate_and_every_gate_its_measure():
    assert list(bench.MEASURES) == list(GATES)


def test_measures_are_chosen_by_the_beginnings_of_their_ids():
    assert bench.choose("") == list(GATES)
    assert bench.choose("c1, a4") == ["a4", "c1-p20", "c1-p100", "c1-p20-grouped", "c1-p100-grouped"]


def test_a_word_that_fits_no_measure_is_refused_with_the_names():
    with pytest.raises(SystemExit, match=r"'z9', which no measure begins with\. Measures: a1, a2"):
        bench.choose("a1,z9")


class Crowd:
    """Other programs that keep some cores busy."""

    def __init__(self, cores) -> None:
        self._cores = cores

    def cores(self):
        return self._cores


def test_a_busy_machine_is_refused_with_one_sentence_that_says_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(machine, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(machine, "OtherLoad", lambda: Crowd(1.4))
    monkeypatch.setattr(bench, "make_lab", lambda *args: pytest.fail("nothing is measured"))
    monkeypatch.setenv("PROMPTLAB_HOME", str(tmp_path))
    for name in ("QUICK", "BENCH_CLOCK", "BENCH_ONLY"):
        monkeypatch.delenv(name, raising=False)

    assert bench.main() == 2

    said = capsys.readouterr().err
    assert "This machine is busy: other programs use 1.4 of" in said
    assert "BENCH_CLOCK=cpu" in said
    assert not (tmp_path / "bench" / "latest.json").exists()


def test_a_quiet_machine_is_taken(monkeypatch):
    monkeypatch.setattr(machine, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(machine, "OtherLoad", lambda: Crowd(0.1))

    assert machine.refuse_busy_machine() == 0.1


def test_a_machine_that_becomes_busy_leaves_no_ratio_and_its_own_exit_code(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(machine, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(machine, "OtherLoad", lambda: Crowd(0.1))
    monkeypatch.setattr(bench, "OtherLoad", lambda: Crowd(1.4))
    monkeypatch.setattr(bench, "make_lab", lambda *args: Lab(tmp_path / "work", SMOL_135M, FULL, Rules()))
    monkeypatch.setitem(bench.MEASURES, "a1", lambda lab: Entry("a1", "peer", "rows/s", 20.0, 2.0, 10.0, ok=True))
    monkeypatch.setenv("PROMPTLAB_HOME", str(tmp_path))
    monkeypatch.setenv("BENCH_ONLY", "a1")
    for name in ("QUICK", "BENCH_CLOCK"):
        monkeypatch.delenv(name, raising=False)

    assert bench.main() == 2

    [entry] = json.loads((tmp_path / "bench" / "latest.json").read_text())["entries"]
    assert (entry["ratio"], entry["ok"]) == (None, None)
    assert "a1 must be measured again" in capsys.readouterr().err


def test_the_code_that_is_measured_is_named_with_what_was_changed_since(monkeypatch, tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    (tmp_path / "code.py").write_text("1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(machine, "_CODE", tmp_path)
    clean = machine.commit()

    (tmp_path / "code.py").write_text("2\n")
    changed = machine.commit()

    assert len(clean) == 40
    assert changed.startswith(f"{clean}+")
    monkeypatch.setattr(machine, "_CODE", tmp_path.parent)
    assert machine.commit() == ""


def test_an_unknown_clock_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("BENCH_CLOCK", "sundial")
    monkeypatch.delenv("BENCH_ONLY", raising=False)

    assert bench.main() == 2
    assert "must be wall or cpu" in capsys.readouterr().err


def test_operations_are_counted_as_the_shape_has_them():
    """The published model of this shape has 134,515,008 weights, 28,311,552 of them in its table of words."""
    norms = 61 * 576
    assert SMOL_135M.body + norms + 49152 * 576 == 134_515_008
    assert SMOL_135M.forward_flop(1, 0, 0) == 2 * SMOL_135M.body
    assert SMOL_135M.forward_flop(0, 0, 1) == 2 * 28_311_552


def test_all_eight_configurations_of_b4_are_held_against_their_runs_alone(monkeypatch, tmp_path):
    asked = []

    def round_of(lab, tasks, *rest):
        rest[-1].start()
        rest[-1].stop()
        asked.append([task.seed for task in tasks])
        return Trained([1.0], [1.0])

    lines = Lines(((5, 6), (7, 8)) * 4, ((9, 1),) * 8)
    monkeypatch.setattr(tuning, "make_task", lambda lab, virtual: Task(lines, virtual, 3))
    monkeypatch.setattr(tuning, "best_way", lambda lab: EXAMPLE)
    monkeypatch.setattr(tuning, "one_by_one", round_of)
    monkeypatch.setattr(tuning, "together", round_of)
    monkeypatch.setattr(Lab, "settle", lambda self: None)

    tuning.b4(Lab(tmp_path, SMALL, QUICK, Rules(rounds=1)))

    assert asked[:2] == [list(range(8))] * 2, "peer and ours, before anything is timed"


def test_c3_mixes_every_kind_of_prompt_that_is_served():
    assert set(KINDS) == {"prompt_tuning", "prefix_tuning", "p_tuning", "hard_prompt", "lora", "ia3"}


@pytest.mark.slow
def test_both_sides_of_every_measure_find_the_same_on_a_small_shape(tmp_path):
    environment = {**os.environ, "QUICK": "1", "BENCH_CLOCK": "cpu", "BENCH_ROUNDS": "1", "PROMPTLAB_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "workers.bench"], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "bench" / "latest.json").read_text())
    assert written["failures"] == {}
    assert [entry["id"] for entry in written["entries"]] == list(GATES)
    assert all(entry["ok"] is None for entry in written["entries"]), "a quick look judges nothing"

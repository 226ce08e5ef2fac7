"""Single requests timed in turn: every approach as often, tuned parts put on and taken off, nothing told when the machine was busy."""

import json

import pytest

from tests.workers.engine.fakes import LABELS, make_backbone, make_items, make_run, make_spec, write_rows
from workers.engine import latency
from workers.engine.contract.latency_spec import LatencySpec
from workers.engine.contract.spec import EvaluateOn, Item, Recipe
from workers.engine.errors import RunStopped
from workers.engine.execute import execute
from workers.engine.latency import percentile, time_approaches


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """What other programs do while a test runs is not its subject."""
    monkeypatch.setattr(latency, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(latency.OtherLoad, "cores", lambda self: 0.1)


@pytest.fixture
def make_pass(tmp_path):
    """A pass over a written prompt, a baseline and, when its backbone is given, a LoRA that is trained first."""

    def make(backbone=None, rows=8, **overrides) -> LatencySpec:
        file = write_rows(tmp_path / "asked.jsonl", overrides.pop("items", None) or make_items(rows))
        shared = {"evaluate": (EvaluateOn("validation", file),), **overrides}
        runs = [make_spec(id="written", **shared), make_spec(id="probe", recipe=Recipe("linear_probe"), train=file, **shared)]
        if backbone:
            execute(make_run(tmp_path / "made", backbone, "lora"))
            tuned = str(tmp_path / "made" / "out" / "artifact")
            runs.append(make_spec(id="tuned", recipe=Recipe("lora"), artifact=tuned, **shared))
        return LatencySpec(tuple(runs), requests=12, patience_seconds=0.0)

    return make


def test_every_approach_answers_as_many_requests_though_there_are_fewer_rows(tmp_path, make_pass):
    backbone = make_backbone()

    report = time_approaches(make_pass(backbone), tmp_path, lambda ref: backbone)

    assert {name: figures.rows for name, figures in report.approaches.items()} == {"written": 12, "probe": 12, "tuned": 12}
    for figures in report.approaches.values():
        assert 0 < (figures.p50_ms or 0) <= (figures.p95_ms or 0)
        assert (figures.cpu_p50_ms or 0) > 0
    assert report.machine["device"] == "cpu"
    assert (report.load, report.withheld) == (0.1, None)
    assert json.loads((tmp_path / "latency.json").read_text())["approaches"]["tuned"]["rows"] == 12


def test_approaches_take_turns_and_leave_the_model_as_it_was(tmp_path, make_pass, monkeypatch):
    backbone = make_backbone()
    spec = make_pass(backbone)
    turns: list[str] = []
    timed = latency._time_block

    def noted(contender, *rest):
        turns.append(contender.run.spec.id)
        timed(contender, *rest)

    monkeypatch.setattr(latency, "_time_block", noted)
    before = backbone.fingerprint()

    time_approaches(spec, tmp_path, lambda ref: backbone)

    assert len(turns) == 15
    for start in range(0, 15, 3):
        assert set(turns[start : start + 3]) == {"written", "probe", "tuned"}
    assert backbone.fingerprint() == before


def test_nothing_is_told_when_other_programs_kept_the_machine_busy(tmp_path, make_pass, monkeypatch):
    backbone = make_backbone()
    looks = iter([0.1, 99.0])  # quiet when it began
    monkeypatch.setattr(latency.OtherLoad, "cores", lambda self: next(looks))

    report = time_approaches(make_pass(), tmp_path, lambda ref: backbone)

    assert "other programs used 99.0 of" in (report.withheld or "")
    assert {(figures.rows, figures.p50_ms, figures.withheld) for figures in report.approaches.values()} == {(0, None, report.withheld)}


def test_no_model_is_loaded_while_the_machine_is_busy(tmp_path, make_pass, monkeypatch):
    monkeypatch.setattr(latency.OtherLoad, "cores", lambda self: 99.0)

    report = time_approaches(make_pass(), tmp_path, lambda ref: pytest.fail("the model was loaded"))

    assert report.withheld


def test_rows_that_do_not_fit_are_not_timed(tmp_path, make_pass):
    backbone = make_backbone()
    items = [*make_items(3), Item("long", {"text": "word " * 400}, LABELS[0])]

    mixed = time_approaches(make_pass(items=items, too_long="skip"), tmp_path, lambda ref: backbone)
    none = time_approaches(make_pass(items=items[3:], too_long="skip"), tmp_path, lambda ref: backbone)

    assert mixed.approaches["written"].rows == 12
    assert none.approaches["written"].withheld == "no row fits into the model with this prompt"


def test_pass_ends_when_it_is_asked_to(tmp_path, make_pass):
    backbone = make_backbone()

    with pytest.raises(RunStopped):
        time_approaches(make_pass(), tmp_path, lambda ref: backbone, should_stop=lambda: True)

    assert not (tmp_path / "latency.json").exists()


def test_spec_survives_its_file(make_pass):
    spec = make_pass()

    assert LatencySpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_percentile_is_the_smallest_value_that_enough_do_not_exceed():
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert percentile(list(range(1, 201)), 0.95) == 190

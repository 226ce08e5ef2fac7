"""The host as its supervisor meets it: a child process, JSON lines, nothing of our own replaced.

In the child no web library can be imported, so that every job here also proves that the engine needs none.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.workers.engine.fakes import QUICK, TEMPLATE, make_items, save_model, write_rows
from workers.engine.contract.spec import BackboneRef, EvaluateOn, Recipe, RunSpec

# Starting a host costs as much as a hundred other tests; the fast suite meets one in tests/test_end_to_end.py.
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 120
WEB_LIBRARIES = ("django", "celery", "kombu", "experiments", "promptlab")
HOST = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({WEB_LIBRARIES!r}))  # importing one of them is an error from here on
sys.argv = ["workers.engine", "host"]
runpy.run_module("workers.engine", run_name="__main__", alter_sys=True)
"""


class Child:
    """A host process and the events it has said."""

    def __init__(self) -> None:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.events = self.process.stdin, self.process.stdout
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.events:
            self.lines.put(line)

    def ask(self, **request):
        self.requests.write(json.dumps(request) + "\n")
        self.requests.flush()

    def hear(self, *wanted):
        """The next event of one of the wanted kinds."""
        while True:
            event = json.loads(self.lines.get(timeout=PATIENCE_SECONDS))
            if event["event"] in wanted:
                return event


@pytest.fixture(scope="module")
def child():
    """One host for all tests, which come in any order. It says first that it is ready, and ends when stdin ends."""
    child = Child()
    event = child.hear("ready", "failed")
    assert (event["event"], event["pid"]) == ("ready", child.process.pid)
    assert "torch" in event["versions"]
    yield child
    child.requests.close()
    try:
        assert child.process.wait(timeout=PATIENCE_SECONDS) == 0
    finally:
        child.process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    save_model(folder / "model")
    write_rows(folder / "rows.jsonl", make_items(12))
    return folder


def write_spec(folder, name, method="hard_prompt", **options):
    from workers.engine.contract.spec import FileRef

    data = FileRef(str(folder / "rows.jsonl"))
    spec = RunSpec(
        id=name,
        backbone=BackboneRef(str(folder / "model"), dtype="fp32", device="cpu"),
        template=TEMPLATE,
        labels=("card", "card order", "cash", "transfer"),
        recipe=Recipe(method, {**QUICK, **options} if method != "hard_prompt" else {}),
        train=data,
        validation=data,
        evaluate=(EvaluateOn("test", data),),
    )
    path = folder / f"{name}.json"
    path.write_text(json.dumps(spec.to_json()), encoding="utf-8")
    return {"op": "run", "id": name, "spec": str(path), "out": str(folder / name)}


def test_jobs_are_done_one_after_another_on_a_warm_unchanged_backbone(child, folder):
    for name, method in (("first", "hard_prompt"), ("second", "lora"), ("third", "prompt_tuning"), ("fourth", "ia3")):
        child.ask(**write_spec(folder, name, method))
        done = child.hear("done", "failed")
        assert done == {"event": "done", "id": name, "result": str(folder / name / "result.json")}
        assert child.hear("idle") == {"event": "idle", "id": name, "unchanged": True}

    first, fourth = (json.loads((folder / name / "result.json").read_text()) for name in ("first", "fourth"))
    assert first["backbone"]["fingerprint"] == fourth["backbone"]["fingerprint"]


def test_a_host_whose_weights_were_trained_says_so_and_loads_them_anew(child, folder):
    child.ask(**write_spec(folder, "before"))
    child.hear("done")
    child.ask(**write_spec(folder, "all-weights", "full", learning_rate=0.01))
    assert child.hear("done", "failed")["event"] == "done"
    while (idle := child.hear("idle"))["id"] != "all-weights":
        pass
    assert idle["unchanged"] is False

    child.ask(**write_spec(folder, "afterwards"))
    child.hear("done")
    assert child.hear("idle")["unchanged"] is True

    before, after = (json.loads((folder / name / "result.json").read_text()) for name in ("before", "afterwards"))
    assert after["backbone"]["fingerprint"] == before["backbone"]["fingerprint"]
    assert after["metrics"]["test"]["log_loss"] == before["metrics"]["test"]["log_loss"]


def test_a_cancel_is_heard_in_the_middle_of_a_training(child, folder):
    child.ask(**write_spec(folder, "long", "prompt_tuning", max_steps=100_000, evaluate_every=100_000))
    while child.hear("progress")["phase"] != "training":
        pass
    child.ask(op="cancel", id="long")

    assert child.hear("cancelled", "done", "failed") == {"event": "cancelled", "id": "long"}
    assert child.hear("idle")["unchanged"] is True
    assert list((folder / "long").iterdir()) == []


def test_a_failed_job_is_told_and_the_next_one_runs(child, folder):
    child.ask(op="run", id="lost", spec=str(folder / "nothing.json"), out=str(folder / "lost"))
    failed = child.hear("failed", "done")
    assert failed["kind"] == "bad_spec"
    assert "cannot be read" in failed["message"]
    assert child.hear("idle")["id"] == "lost"

    child.ask(**write_spec(folder, "after"))
    assert child.hear("done", "failed")["event"] == "done"
    child.hear("idle")


def test_garbage_on_stdin_is_answered_and_survived(child, folder):
    child.process.stdin.write("not json\n[1]\n")
    child.process.stdin.flush()
    assert child.hear("failed")["kind"] == "bad_request"
    assert child.hear("failed")["kind"] == "bad_request"

    child.ask(op="inspect", id="look", backbone={"source": str(folder / "model"), "dtype": "fp32", "device": "cpu"})
    facts = child.hear("inspected")["facts"]
    assert facts["family"] == "llama"
    assert facts["window"] == 256


def test_a_host_starts_without_what_only_baselines_need():
    asked = "import sys, workers.engine.host; print('sklearn' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "False"

"""The session that the README shows, run as it stands there: its calls reach this process, and real workers' code does the jobs."""

import ast
import csv
import io
import re
import sys
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.test import Client

from experiments.demo.story import BUDGETS, PRICES, SEEDS, SHARES
from experiments.models import Evaluation, Experiment, Job, JobState, Role
from experiments.reads.prompts import demonstrations_draw
from experiments.services.keys import api_key_create
from tests.factories import make_backbone
from tests.workers.tiny_model import write_tiny_model
from workers.perform import slot
from workers.tasks import execute_job

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "experiments" / "demo"
BLOCK = re.compile(r"<!-- API session[^\n]*-->\n```python\n(.*?)```", re.DOTALL)
SERVER = "http://testserver"


def answer_from_this_process(request: urllib.request.Request):
    """What the network would do. A call that waits lets the workers finish first."""
    path = request.full_url.removeprefix(SERVER)
    if "/wait?" in path:
        work_off_all_jobs()
    answer = Client().generic(
        request.get_method(),
        path,
        request.data or b"",
        content_type=request.get_header("Content-type"),
        headers=dict(request.header_items()),
    )
    if answer.status_code >= 400:
        raise urllib.error.HTTPError(path, answer.status_code, "", {}, io.BytesIO(answer.content))  # type: ignore[arg-type]
    return io.BytesIO(answer.content)


def work_off_all_jobs() -> None:
    while job := Job.objects.filter(state=JobState.QUEUED).first():
        execute_job(str(job.pk))
        job.refresh_from_db()
        assert job.state == JobState.SUCCEEDED, f"{job.kind}: {job.error} {job.error_detail}"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The demonstration's files with a few rows of each queue: the session is what is tested, not the data."""
    demo = tmp_path / "experiments" / "demo"
    (demo / "banking77").mkdir(parents=True)
    (demo / "queues.csv").write_text((DEMO / "queues.csv").read_text())
    for name, most in (("train.csv", 6), ("test.csv", 1)):
        first_rows_of_each_queue(DEMO / "banking77" / name, demo / "banking77" / name, most=most)
    monkeypatch.chdir(tmp_path)
    return Path(tmp_path)


def first_rows_of_each_queue(source: Path, target: Path, *, most: int) -> None:
    with (DEMO / "queues.csv").open(newline="", encoding="utf-8") as file:
        queues = dict(csv.reader(file))
    seen: Counter[str] = Counter()
    with source.open(newline="", encoding="utf-8") as read, target.open("w", newline="", encoding="utf-8") as written:
        header, *rows = csv.reader(read)
        kept = [row for row in rows if seen.update([queues[row[-1]]]) or seen[queues[row[-1]]] <= most]
        csv.writer(written).writerows([header, *kept])


def block() -> str:
    found = BLOCK.search((ROOT / "README.md").read_text())
    assert found, "README.md shows no API session"
    return found[1]


def test_session_of_the_readme_has_the_figures_of_the_demonstration():
    assigned = [(node.targets[0], node.value) for node in ast.parse(block()).body if isinstance(node, ast.Assign)]
    figures = {name.id: ast.literal_eval(value) for name, value in assigned if isinstance(name, ast.Name) and name.id.isupper()}

    assert figures["SHARES"] == asdict(SHARES)
    assert dict.fromkeys(("soft_prompt", "hybrid", "lora"), figures["BUDGET"]) == BUDGETS
    assert {name: Decimal(str(price)) for name, price in figures["PRICES"].items()} == PRICES
    assert f'"seeds": {list(SEEDS)}' in block()


@pytest.fixture
def program(folder, workspace) -> str:
    """The README's block; only the budget is smaller and the model a tiny one."""
    tiny = make_backbone(workspace, name="Tiny", kind="local", source=str(write_tiny_model(folder / "tiny", num_positions=6_000)))
    small = {
        '"max_steps": 100, "evaluate_every": 25': '"max_steps": 2, "evaluate_every": 1',
        '"seeds": [0, 1],': f'"seeds": [0], "backbone": "{tiny.pk}",',
    }
    text = block()
    for written, tested in small.items():
        assert written in text
        text = text.replace(written, tested)
    return text


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_session_of_the_readme_repeats_the_demonstration(program, folder, workspace, alice, settings, monkeypatch, capsys):
    cache.clear()
    settings.MODEL_FOLDERS = [str(folder)]
    _, clear = api_key_create(workspace=workspace, name="README", role=Role.DOMAIN_EXPERT, by=alice)
    monkeypatch.setattr(sys, "argv", ["session.py", SERVER, clear])
    monkeypatch.setattr(urllib.request, "urlopen", answer_from_this_process)

    try:
        exec(compile(program, "README.md", "exec"), SimpleNamespace(__name__="__main__").__dict__)  # noqa: S102 - our own README
    finally:
        slot().close()
        slot.cache_clear()

    experiment = Experiment.objects.get()
    assert experiment.finished_at
    families = set(experiment.approaches.values_list("family", flat=True))
    assert families == {"engineered", "tuned", "hybrid", "baseline"}
    assert (
        Evaluation.objects.filter(run__approach__experiment=experiment, split="test", attempt__isnull=False).count()
        == experiment.approaches.count()
    )
    assert experiment.price_book is not None
    few_shot = experiment.approaches.get(method="hard_prompt", name__contains="With examples").template_version
    drawn = demonstrations_draw(experiment.dataset_version, per_label=1, seed=0)
    assert [shown["example"] for shown in few_shot.demonstrations] == drawn
    link = capsys.readouterr().out.strip().splitlines()[-1]
    assert Client().get(link.removeprefix(SERVER)).status_code == 200

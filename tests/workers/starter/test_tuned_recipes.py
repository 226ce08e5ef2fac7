"""Every tuned line of the catalogue on the bundled model: it begins as what it starts from, learns, and LoRA beats the written prompt."""

import csv
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from experiments.catalogue.recipes import CATALOGUE, recipe_options, split_teaching
from experiments.demo.prompts import CAREFUL, QUEUES
from experiments.evidence.rates import paired_difference
from tests.workers.engine.answering.test_scoring import plain_reference
from tests.workers.engine.fakes import write_rows
from tests.workers.engine.golden import peft_score
from workers.engine.contract.outcome import RunResult
from workers.engine.contract.recipes import METHODS
from workers.engine.contract.spec import BackboneRef, EvaluateOn, FileRef, Item, Recipe, RunSpec
from workers.engine.contract.teaching_rules import Teaching
from workers.engine.contract.template_spec import Demonstration, TemplateSpec
from workers.engine.execute import execute
from workers.engine.methods.tuning import PeftTuning, create_tuning
from workers.engine.model.backbone import Backbone, load_backbone
from workers.engine.prompts.frame import Frame
from workers.engine.rows import read_rows
from workers.engine.run import Run

DEMO = Path("experiments/demo")
LABELS = ("refund", "top up", "virtual card")
TEMPLATE = TemplateSpec(
    user=f"A customer of a bank wrote a message. Decide what it is about.\nOptions: {'; '.join(LABELS)}\nMessage: {{{{text}}}}",
    answer_cue="Answer:",
    demonstrations=(Demonstration({"text": "Where is the money for the shoes that I sent back?"}, "refund"),),
)
START = "Read the message of this customer."
# What a recipe is before its first step, where that is a written prompt.
WRITTEN = {"soft_prompt", "prefix", "distilled", "cpt", "template_lora", "ia3", "adapter_houlsby", "adapter_pfeiffer", "full"}
STARTS = dict.fromkeys(WRITTEN, TEMPLATE) | dict.fromkeys(("lora", "rslora", "dora"), TEMPLATE.bare())
TUNED = [kind for kind in CATALOGUE.values() if kind.is_tuned]
SHORT = {"max_steps": 8, "warmup_steps": 1, "evaluate_every": 8, "batch_size": 12}


@cache
def starter() -> Backbone:
    return load_backbone(BackboneRef("workers/starter/model", dtype="fp32", device="cpu"))


@cache
def messages(name: str) -> tuple[tuple[str, str], ...]:
    """(text, queue) of the demonstration's rows, in an order of their own."""
    with (DEMO / "queues.csv").open(encoding="utf-8") as queues, (DEMO / f"banking77/{name}.csv").open(encoding="utf-8") as rows:
        queue_of = {row["intent"]: row["queue"] for row in csv.DictReader(queues)}
        found = [(row["text"], queue_of[row["category"]]) for row in csv.DictReader(rows)]
    random.Random(0).shuffle(found)
    return tuple(found)


def write(path: Path, rows: list[tuple[str, str]]) -> FileRef:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_rows(path, (Item(f"{path.stem}-{at}", {"text": text}, label) for at, (text, label) in enumerate(rows)))


def few(folder: Path) -> tuple[FileRef, FileRef]:
    """Four train rows of each label, and two to choose by."""
    rows = {label: [row for row in messages("train") if row[1] == label] for label in LABELS}
    train, validation = (write(folder / f"{name}.jsonl", [row for found in rows.values() for row in found[a:b]])
                         for name, a, b in (("train", 0, 4), ("validation", 4, 6)))  # fmt: skip
    return train, validation


def sure_answers(folder: Path, rows: FileRef) -> FileRef:
    """What a teacher says who is right and nearly sure."""
    told = [{"id": row.id, "answer": row.label, "loglikelihoods": {label: -9.0 * (label != row.label) for label in LABELS}}
            for row in read_rows(rows, LABELS)]  # fmt: skip
    (folder / "answers.jsonl").write_text("".join(json.dumps(each) + "\n" for each in told), encoding="utf-8")
    return FileRef(str(folder / "answers.jsonl"))


def run(folder: Path, method: str, options: dict[str, Any], template: TemplateSpec, **spec: Any) -> RunResult:
    values: dict[str, Any] = {
        "id": method,
        "backbone": BackboneRef("starter"),
        "labels": LABELS,
        "template": template,
        "recipe": Recipe(method, options),
    }
    model = load_backbone(BackboneRef("workers/starter/model", dtype="fp32", device="cpu")) if method == "full" else starter()
    return execute(Run(RunSpec(**(values | spec)), folder, provide=lambda ref: model))


def answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in next(folder.glob("predictions-*.jsonl")).read_text(encoding="utf-8").splitlines()]


def loss_of_written(folder: Path, template: TemplateSpec, rows: FileRef) -> float:
    """Mean loss of the labels (nats) behind a written prompt, as a run of its own predicts them."""
    run(folder, "hard_prompt", {}, template, evaluate=(EvaluateOn("validation", rows),))
    lines = answers(folder)
    return -float(sum(line["loglikelihoods"][line["expected"]] for line in lines)) / len(lines)


def loss_in_front(key: str, options: dict[str, Any], rows: FileRef) -> float:
    """The same with learned tokens in front of all that is written, by the libraries alone.

    Those of a hybrid are the words of its start text, those of P-tuning what its untrained network writes.
    """
    frame = Frame(RunSpec("p", BackboneRef("starter"), TEMPLATE, (EvaluateOn("none", rows),), labels=LABELS), starter())
    encoded = [(row.ids, frame.answers_of(row.item.label)[0].ids) for row in frame.encode(read_rows(rows, LABELS))]
    if key == "hybrid":
        words = starter().tokenizer(START, add_special_tokens=False)["input_ids"]
        found = [plain_reference(starter(), (*words, *row), answer) for row, answer in encoded]
    else:
        tuning = create_tuning(starter(), frame, Recipe("p_tuning", options), 0)
        assert isinstance(tuning, PeftTuning)
        found = [float(peft_score(tuning.peft_model.eval(), row, answer)) for row, answer in encoded]
    return -float(sum(found)) / len(found)


@pytest.mark.slow  # the fast suite does the same on tiny models
@pytest.mark.parametrize("key", [kind.key for kind in TUNED])
def test_recipe_begins_as_what_it_starts_from_and_its_loss_falls(tmp_path, key):
    kind = CATALOGUE[key]
    train, validation = few(tmp_path)
    as_text: dict[str, Any] = {"num_virtual_tokens": 0} if "init" in {option.name for option in kind.options} else {}
    as_text |= {"init_text": START} if key == "hybrid" else {}
    options, _ = split_teaching(recipe_options(key, SHORT | as_text))
    taught = {"teacher_answers": sure_answers(tmp_path, train), "teaching": Teaching("distribution")} if kind.taught else {}

    result = run(tmp_path / "tuned", kind.method, options, TEMPLATE, train=train, validation=validation, evaluate=(), **taught)

    first, *_, last = result.training.losses
    assert last.train_loss < first.train_loss
    start = result.training.curve[0]
    begun = loss_of_written(tmp_path / "written", STARTS[key], validation) if key in STARTS else loss_in_front(key, options, validation)
    assert (start.step, start.validation_loss) == (0, pytest.approx(begun, abs=1e-4))


def test_every_tuned_line_of_the_catalogue_has_a_start_to_be_held_to():
    assert {kind.key for kind in TUNED} == {*STARTS, "hybrid", "p_tuning"}
    assert all(METHODS[kind.method].family == "tuned" for kind in TUNED)


@pytest.mark.slow
def test_lora_beats_the_written_prompt_by_its_interval_on_a_thousand_rows(tmp_path):
    prompt = TemplateSpec(user=CAREFUL.user, answer_cue=CAREFUL.answer_cue)
    rows = messages("train")
    train, validation = write(tmp_path / "train.jsonl", list(rows[:2000])), write(tmp_path / "validation.jsonl", list(rows[-100:]))
    test = (EvaluateOn("test", write(tmp_path / "test.jsonl", list(messages("test")[:1000]))),)
    options, _ = split_teaching(recipe_options("lora", {"max_steps": 100, "evaluate_every": 50}))

    run(tmp_path / "written", "hard_prompt", {}, prompt, labels=QUEUES, evaluate=test)
    run(tmp_path / "lora", "lora", options, prompt, labels=QUEUES, evaluate=test, train=train, validation=validation)

    right = [[line["predicted"] == line["expected"] for line in answers(tmp_path / name)] for name in ("written", "lora")]
    won = sum(now and not before for before, now in zip(*right, strict=True))
    lost = sum(before and not now for before, now in zip(*right, strict=True))
    assert paired_difference(won, lost, 1000).low > 0

"""Makes the approaches that train no part of the model: a prompt as written, with drawn examples, with a label bias, or searched for.

Reads train rows; knows no test rows and no pages.
"""

import random
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workers.engine.answering.scoring import Scorer
from workers.engine.contract.outcome import Progress, TrainingRecord
from workers.engine.contract.spec import Item
from workers.engine.errors import BadData, Unsupported
from workers.engine.figures.calibration import fit_label_bias
from workers.engine.journal import TRIALS
from workers.engine.model.backbone import Backbone
from workers.engine.prompts.demonstrations import Neighbours
from workers.engine.prompts.draws import shown, with_drawn
from workers.engine.prompts.frame import Frame
from workers.engine.rows import read_rows
from workers.engine.run import Run
from workers.engine.search.by_rule import Found, best_of, search_prompt, sharing_reason
from workers.engine.search.candidate import Candidate
from workers.engine.search.candidates import draws_of, wordings_of
from workers.engine.search.optimising import WITHOUT_DSPY, JournalFile, Memory
from workers.engine.search.writing_model import WritingModel


@dataclass(frozen=True)
class Written:
    """A prompt ready to be scored.

    Args:
        label_bias: {label: number added to its score}; empty when nothing was fitted.
        neighbours: what finds the examples of each row, where every row has its own.
        record: what making it took; None when it took nothing.
        facts: what was chosen, for the result.
    """

    frame: Frame
    label_bias: dict[str, float] = field(default_factory=dict)
    neighbours: Neighbours | None = None
    record: TrainingRecord | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def write_prompt(run: Run, backbone: Backbone) -> Written:
    """The prompt that a run asks for, with what is drawn or fitted from its train rows.

    Raises:
        BadData: there are too few train rows.
    """
    method = run.spec.recipe.method
    if run.spec.num_configurations > 1:
        return _searched(run, best_of(run, backbone, _configurations(run, backbone), budget=0), backbone)
    if method == "drawn_examples":
        return _with_examples(run, backbone)
    if method == "label_bias":
        return _with_bias(run, Frame(run.spec, backbone))
    if method == "prompt_search":
        return _searched(run, search_prompt(run, backbone), backbone)
    if method == "dspy_search":
        return _by_dspy(run, backbone)
    return Written(Frame(run.spec, backbone))


def _searched(run: Run, found: Found, backbone: Backbone) -> Written:
    spec = replace(run.spec, template=found.winner.template, answer_words=found.winner.answer_words)
    return Written(Frame(spec, backbone), record=found.record, facts=found.facts)


def _configurations(run: Run, backbone: Backbone) -> list[Candidate]:
    """The prompts that are tried for an approach that is one prompt."""
    spec = run.spec
    train = read_rows(spec.train, spec.labels, spec.max_rows) if spec.train else []
    if spec.recipe.method == "drawn_examples":
        return draws_of(spec, train)
    found = wordings_of(spec, train, Frame(spec, backbone).is_chat)
    if len(found) < spec.num_configurations:
        run.warnings.append(
            f"The rules make {len(found):,} different wordings of this prompt, fewer than the {spec.num_configurations} to be tried."
        )
    return found


def _by_dspy(run: Run, backbone: Backbone) -> Written:
    """The prompt that DSPy finds.

    Raises:
        Unsupported: DSPy is not installed, or the model cannot write.
    """
    try:
        from workers.engine.search.by_dspy import found_on
    except ModuleNotFoundError as error:
        if error.name not in ("dspy", "optuna"):
            raise
        raise Unsupported(WITHOUT_DSPY) from error
    spec = run.spec
    assert spec.validation is not None, "the spec refuses a search without validation rows"
    validation = read_rows(spec.validation, spec.labels, spec.max_rows)
    written = Frame(spec, backbone)
    model = WritingModel(spec, backbone, Memory.open(spec.checkpoint_dir), sharing_reason(written, validation))
    journal = JournalFile(run.out / TRIALS)

    def told(spent: int, best: float | None) -> None:
        metrics = {"validation_accuracy": best} if best is not None else {}
        run.report(Progress("searching", step=spent, steps=int(spec.recipe.options["budget"]), metrics=dict(metrics)))  # type: ignore[arg-type]

    found = found_on(spec, model, _train_rows(run), validation, journal.write, told)
    run.warnings += found.warnings
    record = TrainingRecord(train_seconds=found.seconds, validation_source=f"{found.rows} rows of the validation file")
    frame = Frame(replace(spec, template=found.winner.template), backbone)
    return Written(frame, record=record, facts={"search": found.facts})


def _with_examples(run: Run, backbone: Backbone) -> Written:
    train = _train_rows(run)
    if run.spec.recipe.options["policy"] == "nearest":
        return _with_nearest(run, backbone, train)
    spec, facts = with_drawn(run.spec, train)
    return Written(Frame(spec, backbone), facts={"examples": facts})


def _with_nearest(run: Run, backbone: Backbone, train: list[Item]) -> Written:
    spec, options = run.spec, run.spec.recipe.options
    started = time.perf_counter()
    bare = replace(spec, template=replace(spec.template, demonstrations=()))
    run.report(Progress("training", rows_total=len(train)))
    neighbours = Neighbours.of(bare, backbone, train, int(options["num_examples"]))  # type: ignore[arg-type]
    frame = Frame(bare, backbone, examples_of=lambda items: [shown(found) for found in neighbours.find(items)])
    run.warnings.append(
        "Every row reads examples of its own, so they cannot be run once for all rows: look at the computed tokens and the time."
    )
    record = TrainingRecord(train_seconds=time.perf_counter() - started)
    facts = {name: options[name] for name in ("policy", "num_examples", "draw_seed")}
    return Written(frame, neighbours=neighbours, record=record, facts={"examples": {**facts, "pool_rows": len(train)}})


def _with_bias(run: Run, frame: Frame) -> Written:
    if run.spec.label_bias:
        return Written(frame, dict(run.spec.label_bias))
    spec, options = run.spec, run.spec.recipe.options
    assert frame.trie is not None, "the spec refuses a label bias without labels"
    started = time.perf_counter()
    rows = _bias_rows(run, int(options["train_rows"]), int(options["draw_seed"]))  # type: ignore[arg-type]
    usable = [row for row in frame.encode(rows) if row.error is None]
    if len(usable) < 2:
        raise BadData(
            "A label bias needs at least two train rows that the prompt does not show and that fit into the model; "
            f"there are {len(usable)}. Add train rows, or shorten them or the prompt."
        )
    scorer = Scorer(
        frame.backbone,
        frame.trie,
        plain_reason=sharing_reason(frame, rows),
        on_rows=lambda done: run.report(Progress("training", rows=done, rows_total=len(usable))),
    )
    scores = scorer.score([row.ids for row in usable]).labels.double().numpy()
    expected = np.array([spec.labels.index(row.item.label) for row in usable])
    bias = fit_label_bias(scores, expected, float(options["penalty"]))  # type: ignore[arg-type]
    fitted = dict(zip(spec.labels, bias.tolist(), strict=True))
    record = TrainingRecord(train_seconds=time.perf_counter() - started)
    return Written(frame, fitted, record=record, facts={"label_bias": fitted, "label_bias_rows": len(usable)})


def _bias_rows(run: Run, limit: int, seed: int) -> list[Item]:
    """A seeded draw of train rows. Those that the prompt shows are left out: it has read their answers."""
    seen = [dict(each.fields) for each in run.spec.template.demonstrations]
    rows = [item for item in _train_rows(run) if dict(item.fields) not in seen]
    random.Random(seed).shuffle(rows)  # noqa: S311 - nothing secret is drawn
    return rows[:limit]


def _train_rows(run: Run) -> list[Item]:
    spec = run.spec
    assert spec.train is not None, "the spec refuses a method that learns without train rows"
    return read_rows(spec.train, spec.labels, spec.max_rows)

"""Makes the approach that a run asks for: a baseline fitted, a prompt assembled or searched, a tuned part trained or loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from workers.engine.approach import Approach, Baseline, Prompted
from workers.engine.baselines import fit_baseline
from workers.engine.contract.recipes import METHODS
from workers.engine.errors import BadSpec
from workers.engine.methods.artifacts import load_tuning, start_from
from workers.engine.methods.context import with_examples
from workers.engine.methods.explaining import describe_vectors
from workers.engine.methods.forgetting import forgetting, unrelated_loss
from workers.engine.methods.full import refuse_without_room
from workers.engine.methods.tuned import Tuning
from workers.engine.methods.tuning import create_tuning, frame_of, reserved_positions
from workers.engine.model.backbone import Backbone
from workers.engine.prompts.chain import Chained, answering_spec, first_texts, writing_spec
from workers.engine.prompts.frame import Frame
from workers.engine.rows import read_rows
from workers.engine.run import Run
from workers.engine.training.learning import learn
from workers.engine.training.sweep import learn_best
from workers.engine.training.teaching import Ask, Lessons, hear_teacher, teachers_spec
from workers.engine.written import write_prompt


def build_approach(run: Run) -> Approach:
    """Make the approach that a run asks for: fit, train, load or just assemble it.

    Raises:
        EngineError: as the chapters say.
    """
    if run.spec.recipe.is_baseline:
        return _baseline(run)
    return _chained(run, run.load()) if run.spec.template.first_step else _prompted(run)


def _baseline(run: Run) -> Baseline:
    spec = run.spec
    train = read_rows(spec.train, spec.labels, spec.max_rows) if spec.train else []
    backbone = run.load() if spec.recipe.method == "linear_probe" else None
    run.watch.start("train")
    believe = fit_baseline(spec, train, backbone)
    run.watch.stop("train")
    return Baseline(run, believe, backbone)


def _chained(run: Run, backbone: Backbone) -> Chained:
    writing = writing_spec(run.spec)
    first = Prompted(replace(run, spec=writing), Frame(writing, backbone), is_answer=False)
    answering = answering_spec(run.spec, first_texts(first, run.spec.template.demonstrations))
    return Chained(first, Prompted(replace(run, spec=answering), Frame(answering, backbone)))


def _prompted(run: Run) -> Prompted:
    spec, backbone = run.spec, run.load()
    if spec.artifact is not None:
        return _loaded(run, backbone, Path(spec.artifact))
    return _tuned(run, backbone) if spec.recipe.is_tuned else _written(run, backbone)


def _loaded(run: Run, backbone: Backbone, artifact: Path) -> Prompted:
    """A tuned part from its folder; it learns nothing more."""
    approach = _reserved(Prompted(run, _frame(run, backbone), load_tuning(artifact, backbone)))
    if run.spec.ablate:
        approach.learned["ablation"] = approach.ablate()
    return approach


def _tuned(run: Run, backbone: Backbone) -> Prompted:
    """A part that learns, from its teacher's first word to what it has learned and what the model forgot."""
    spec = run.spec
    lessons = _lessons(run, backbone) if spec.is_taught else None
    frame = _frame(run, backbone)
    if METHODS[spec.recipe.method].replaces_weights:
        refuse_without_room(backbone, run.out, spec.memory_limit_bytes)
    loss_before, _ = unrelated_loss(backbone)
    tuning = create_tuning(backbone, frame, spec.recipe, spec.seed)
    run.warnings += tuning.warnings
    approach = _reserved(Prompted(run, frame, tuning))
    start = _train(approach, tuning, lessons)
    virtual = approach.virtual()
    approach.learned["forgetting"] = forgetting(backbone, loss_before, virtual)
    if start is not None and virtual.vectors is not None:
        approach.learned["learned_tokens"] = describe_vectors(backbone, start, virtual.vectors)
    return approach


def _train(approach: Prompted, tuning: Tuning, lessons: Lessons | None) -> Tensor | None:
    """Train one configuration or several, and hold the winner against its teacher; returns what its learned vectors started from."""
    run = approach.run
    run.watch.start("train")
    try:
        start = _sweep(approach, lessons) if run.spec.num_configurations > 1 else _learned(approach, tuning, lessons)
        if lessons:
            approach.learned["distillation"] = _compared(approach, lessons)
        return start
    except BaseException:
        approach.release()
        raise
    finally:
        run.watch.stop("train")


def _lessons(run: Run, backbone: Backbone) -> Lessons:
    """What the teacher says: its answers of another day, or its prompt on this model, scored by the path that scores everything."""
    run.watch.start("teach")
    try:
        return hear_teacher(run, _teacher(run, backbone))
    finally:
        run.watch.stop("teach")


def _teacher(run: Run, backbone: Backbone) -> Ask | None:
    if (asked := teachers_spec(run.spec)) is None:
        return None
    as_asked = replace(run, spec=asked)
    teacher = _chained(as_asked, backbone) if asked.template.first_step else Prompted(as_asked, Frame(asked, backbone))
    return lambda rows: teacher.predict(rows, lambda done: None)


def _compared(approach: Prompted, lessons: Lessons) -> dict[str, Any]:
    """What the teaching was, and how far student and teacher agree on validation rows."""
    if not lessons.checked:
        return lessons.facts(approach.run.spec)
    return lessons.facts(approach.run.spec) | lessons.agreement(approach.predict(lessons.checked, lambda done: None))


def _learned(approach: Prompted, tuning: Tuning, lessons: Lessons | None) -> Tensor | None:
    """Train the one configuration that was set; returns what its learned vectors started from."""
    if (folder := approach.run.spec.start_from) is not None:
        start_from(Path(folder), tuning, approach.backbone)
    start = approach.virtual().vectors
    approach.training = learn(approach.run, approach.frame, tuning, lessons)
    return start


def _sweep(approach: Prompted, lessons: Lessons | None) -> Tensor | None:
    """Put the best of several configurations in the place of the one that was made; returns what its learned vectors started from."""
    assert approach.tuning is not None, "only tuned approaches are swept this way"
    approach.tuning.remove()
    approach.tuning = None
    best = learn_best(approach.run, approach.frame, lessons)
    approach.tuning, approach.training = best.tuning, best.record
    approach.learned |= best.facts
    return best.start


def _written(run: Run, backbone: Backbone) -> Prompted:
    run.watch.start("train")
    try:
        written = write_prompt(run, backbone)
    finally:
        run.watch.stop("train")
    return Prompted(run, written.frame, training=written.record, written=written)


def _frame(run: Run, backbone: Backbone) -> Frame:
    spec = run.spec
    if spec.recipe.method == "cpt" and spec.artifact is None and spec.train is not None:
        spec = with_examples(spec, backbone, read_rows(spec.train, spec.labels, spec.max_rows), run.warnings)
    frame = frame_of(spec, backbone, reserved_positions(spec.recipe))
    frame.check_room()
    return frame


def _reserved(approach: Prompted) -> Prompted:
    """Keep as many positions free as the learned part turned out to take: a start text may set their number."""
    approach.frame.reserved = approach.virtual().length
    try:
        approach.frame.check_room()
    except BadSpec:
        approach.release()
        raise
    return approach

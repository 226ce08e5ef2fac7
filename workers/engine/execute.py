"""One run, from spec to result. The story is told here; every chapter lives in a module of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from workers.engine.approach import Approach
from workers.engine.building import build_approach
from workers.engine.contract.outcome import Progress, RunResult, write_json, write_predictions
from workers.engine.contract.spec import EvaluateOn, Item
from workers.engine.errors import OutOfMemory
from workers.engine.figures.formats import FormatChecker
from workers.engine.figures.metrics import target_metrics
from workers.engine.model.runtime import (
    begin_peak_memory,
    describe_machine,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory_bytes,
    seed_everything,
    versions,
)
from workers.engine.rows import read_rows
from workers.engine.run import Run


def execute(run: Run) -> RunResult:
    """Make the approach, answer every row of every file, and leave predictions, artifact and result in the run's folder.

    Raises:
        EngineError: the run cannot go on; nothing half-done lies in the folder under a final name.
    """
    spec = run.spec
    keep_freed_memory()
    begin_peak_memory()
    seed_everything(spec.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    rows = {target.name: read_rows(target.file, spec.labels, spec.max_rows, labelled=target.labelled) for target in spec.evaluate}
    result = RunResult(spec.id, "succeeded", spec.recipe.method, dict(spec.recipe.options), spec.seed)
    checker = FormatChecker(spec.answer_format)  # a bad schema is refused before anything is trained
    with _memory_named():
        approach = build_approach(run)
        try:
            for target in spec.evaluate:
                _evaluate(run, approach, target, rows[target.name], result, checker)
            result.artifact = approach.save(run.out / "artifact")
            _describe(run, approach, result)
        finally:
            approach.release()
    write_json(run.out / "result.json", result.to_json())
    return result


def _evaluate(run: Run, approach: Approach, target: EvaluateOn, items: Sequence[Item], result: RunResult, checker: FormatChecker) -> None:
    def on_rows(done: int) -> None:
        run.report(Progress("scoring", rows=done, rows_total=len(items)))

    on_rows(0)
    run.watch.start("score")
    predictions = approach.predict(items, on_rows)
    seconds = run.watch.stop("score")
    result.metrics[target.name] = target_metrics(run.spec, target, predictions, checker, seconds)
    name = f"predictions-{target.name}.jsonl"
    write_predictions(run.out / name, predictions)
    result.predictions[target.name] = name


def _describe(run: Run, approach: Approach, result: RunResult) -> None:
    for name, value in approach.facts().items():
        setattr(result, name, value)
    for name, value in describe_machine(run.spec.backbone.device).items():
        setattr(result, name, value)
    result.timings = dict(run.watch.seconds)
    result.versions = versions()
    result.peak_memory_bytes = peak_memory_bytes()
    result.warnings = list(dict.fromkeys(run.warnings))


@contextmanager
def _memory_named() -> Iterator[None]:
    """Turn every way in which memory runs out into one sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory("The machine ran out of memory. Use a smaller model, shorter rows or a shorter prompt.") from error

"""One run, from spec to result. The story is told here; every chapter lives in a module of its own."""

from collections.abc import Callable
from pathlib import Path

import torch

from workers.engine.backbone import Backbone, load_backbone
from workers.engine.frame import Frame
from workers.engine.metrics import classification_metrics
from workers.engine.outcome import Metrics, Progress, RunResult, write_json, write_predictions
from workers.engine.predicting import predict_labels
from workers.engine.rows import read_rows
from workers.engine.runtime import Stopwatch, keep_freed_memory, peak_memory_bytes, seed_everything, versions
from workers.engine.scoring import Scorer
from workers.engine.spec import RunSpec




def execute(spec: RunSpec, out: Path, on_progress, should_stop) -> RunResult:
    keep_freed_memory()
    seed_everything(spec.seed)
    watch = Stopwatch()
    watch.start("load")
    backbone = load_backbone(spec.backbone)
    watch.stop("load")
    frame = Frame(spec, backbone)
    scorer = Scorer(backbone, frame.trie)
    out.mkdir(parents=True, exist_ok=True)
    result = RunResult(spec.id, "succeeded", spec.recipe.method, dict(spec.recipe.options), spec.seed)
    for target in spec.evaluate:
        items = read_rows(target.file, spec.labels, spec.max_rows)
        watch.start("score")
        predictions = predict_labels(frame, scorer, items)
        seconds = watch.stop("score")
        result.metrics[target.name] = classification_metrics(predictions, spec.labels, seconds)
        write_predictions(out / f"predictions-{target.name}.jsonl", predictions)
    result.timings = watch.seconds
    result.warnings = frame.warnings
    write_json(out / "result.json", result.to_json())
    return result

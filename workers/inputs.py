"""Rows and tuned parts as local files that an engine host can read. Written once, shared by every job that needs the same."""

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from experiments.models import Artifact, DatasetVersion, Example, Focus, Split
from experiments.models.datasets import Task
from experiments.planning.draws import balanced_order
from experiments.storage import copy_stored
from workers.engine.contract.spec import FileRef

CHUNK_ROWS = 2000


def split_file(version: DatasetVersion, split: str) -> FileRef:
    """All rows of one split as JSON lines. The name holds the content's hash, so the file is found again without reading the rows."""
    return _kept_file(version, split, lambda: Example.objects.filter(version=version, split=split).order_by("position"))


def drawn_file(version: DatasetVersion, num_rows: int, seed: int) -> FileRef:
    """A draw of train rows as JSON lines; smaller draws by the same seed are parts of larger ones."""

    def drawn() -> QuerySet[Example]:
        train = Example.objects.filter(version=version, split=Split.TRAIN).order_by("position")
        is_labelled = version.task == Task.CLASSIFICATION  # a free answer is no label to balance by
        rows = ((pk, label if is_labelled else "") for pk, label in train.values_list("pk", "label"))
        return train.filter(pk__in=balanced_order(rows, seed)[:num_rows])

    return _kept_file(version, f"drawn{num_rows}by{seed}", drawn)


def _kept_file(
    version: DatasetVersion, name: str, rows: Callable[[], QuerySet[Example]], times: Mapping[int, int] | None = None
) -> FileRef:
    folder = _shared_folder(f"rows-{version.pk}")
    known = next(folder.glob(f"{name}-*.jsonl"), None)
    if known is None:
        written = rows_file(rows().iterator(chunk_size=CHUNK_ROWS), folder / f"{name}.{os.getpid()}.partial", times)
        known = Path(written.path).replace(folder / f"{name}-{written.sha256}.jsonl")
    return FileRef(str(known), known.stem.removeprefix(f"{name}-"))


def sample_file(version: DatasetVersion, split: str, num_rows: int) -> FileRef:
    """Rows of a split drawn by chance, the same ones each time; their labels have no say in it."""
    path = _shared_folder(f"rows-{version.pk}") / f"{split}.{num_rows}.{os.getpid()}.jsonl"
    ids = list(Example.objects.filter(version=version, split=split).order_by("position").values_list("pk", flat=True))
    drawn = random.Random(0).sample(ids, min(num_rows, len(ids)))  # noqa: S311 - nothing secret is drawn
    return rows_file(Example.objects.filter(version=version, pk__in=drawn).order_by("position").iterator(chunk_size=CHUNK_ROWS), path)


def focused_file(version: DatasetVersion, focus: Focus) -> FileRef:
    """All train rows but those that were left out; the ones in focus say how often training shows them."""
    times = dict.fromkeys(focus.rows, focus.times) if focus.times > 1 else {}
    train = Example.objects.filter(version=version, split=Split.TRAIN).exclude(pk__in=focus.left_out).order_by("position")
    return _kept_file(version, f"focus{focus.pk}", lambda: train, times)


def rows_file(examples: Iterable[Example], path: Path, times: Mapping[int, int] | None = None) -> FileRef:
    """Write rows as JSON lines, with the keys that the engine reads: id, fields, label, and times where `times` knows the row."""
    digest = hashlib.sha256()
    with path.open("wb") as lines:
        for example in examples:
            row: dict[str, Any] = {"id": str(example.pk), "fields": example.fields, "label": example.label}
            if times and example.pk in times:
                row["times"] = times[example.pk]
            line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
            digest.update(line)
            lines.write(line)
    return FileRef(str(path), digest.hexdigest())


def artifact_folder(artifact: Artifact) -> Path:
    """The files of a tuned part in a folder of their own, checked against their hashes when they are fetched."""
    folder = _shared_folder(f"artifact-{artifact.pk}")
    for name, file in artifact.files.items():
        target = folder / Path(name).name
        if not target.exists():
            copy_stored(file["sha256"], target)
    return folder


def _shared_folder(name: str) -> Path:
    """A folder that the sweep leaves alone for a day from now on."""
    folder = Path(settings.ATTEMPTS_DIR) / name
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    return folder

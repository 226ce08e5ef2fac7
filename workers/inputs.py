"""Rows and tuned parts as local files that an engine host can read. Written once, shared by every job that needs the same."""

import hashlib
import json
import os
import random
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings

from experiments.models import Artifact, DatasetVersion, Example
from experiments.storage import copy_stored
from workers.engine.spec import FileRef

CHUNK_ROWS = 2000


def split_file(version: DatasetVersion, split: str) -> FileRef:
    """All rows of one split as JSON lines. The name holds the content's hash, so the file is found again without reading the rows."""
    folder = _shared_folder(f"rows-{version.pk}")
    known = next(folder.glob(f"{split}-*.jsonl"), None)
    if known is None:
        rows = Example.objects.filter(version=version, split=split).order_by("position")
        written = rows_file(rows.iterator(chunk_size=CHUNK_ROWS), folder / f"{split}.{os.getpid()}.partial")
        known = Path(written.path).replace(folder / f"{split}-{written.sha256}.jsonl")
    return FileRef(str(known), known.stem.removeprefix(f"{split}-"))


def sample_file(version: DatasetVersion, split: str, num_rows: int) -> FileRef:
    """Rows of a split drawn by chance, the same ones each time; their labels have no say in it."""
    path = _shared_folder(f"rows-{version.pk}") / f"{split}.{num_rows}.{os.getpid()}.jsonl"
    ids = list(Example.objects.filter(version=version, split=split).order_by("position").values_list("pk", flat=True))
    drawn = random.Random(0).sample(ids, min(num_rows, len(ids)))  # noqa: S311 - nothing secret is drawn
    return rows_file(Example.objects.filter(version=version, pk__in=drawn).order_by("position").iterator(chunk_size=CHUNK_ROWS), path)


def rows_file(examples: Iterable[Example], path: Path) -> FileRef:
    """Write rows as JSON lines, with the keys that the engine reads: id, fields, label."""
    digest = hashlib.sha256()
    with path.open("wb") as lines:
        for example in examples:
            row = {"id": str(example.pk), "fields": example.fields, "label": example.label}
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

"""A teacher's answers on their way to its student: stored predictions as a file, and what sibling runs have heard already.

Knows the shape of the engine's lessons; what is made of them is the engine's business.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from experiments.models import Evaluation, Prediction, Run, Split
from experiments.planning.teachers import TEACHABLE
from workers.engine.contract.spec import FileRef
from workers.engine.contract.teaching_rules import JOURNAL


def answers_file(answers: Sequence[Evaluation], path: Path) -> FileRef:
    """What a run has answered to rows that it teaches, and to the validation rows that student and teacher are compared on.

    Rows that its prompt shows are left out: it would teach them by heart.

    Args:
        answers: to train rows, to unlabelled rows, or to both, all of one run.
    """
    run = answers[0].run
    shown = shown_rows(run)
    told = [*answers, *Evaluation.objects.filter(run=run, split=Split.VALIDATION, suite="plain", attempt__isnull=False)]
    digest = hashlib.sha256()
    with path.open("wb") as lines:
        for each in told:
            for lesson in _lessons(each, shown if each.split in TEACHABLE else []):
                line = json.dumps(lesson, ensure_ascii=False).encode() + b"\n"
                digest.update(line)
                lines.write(line)
    return FileRef(str(path), digest.hexdigest())


def _lessons(evaluation: Evaluation, shown: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    # By their text too: another version of the data gives the same row another id, and a text may stand in the data twice.
    ids = {str(row.get("example") or row.get("id")) for row in shown}
    texts = [row["fields"] for row in shown if row.get("fields")]
    answers = Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt_id, error="").exclude(predicted="")
    fields = (
        "example_id",
        "example__fields",
        "predicted",
        "loglikelihoods",
        "prompt_tokens",
        "virtual_tokens",
        "completion_tokens",
        "seconds",
    )
    for row in answers.order_by("example__position").values(*fields).iterator(chunk_size=2000):
        if str(row["example_id"]) not in ids and row["example__fields"] not in texts:
            tokens = row["prompt_tokens"] + row["virtual_tokens"] + row["completion_tokens"]
            yield {
                "id": str(row["example_id"]),
                "answer": row["predicted"],
                "loglikelihoods": row["loglikelihoods"],
                "tokens": tokens,
                "seconds": row["seconds"],
            }


def shown_rows(run: Run) -> list[Mapping[str, Any]]:
    """The rows that a run's prompt shows: written into it, drawn for it, or found by a search."""
    written = run.result.get("written") or {}
    found = (written.get("search") or {}).get("wording", {}).get("demonstrations", [])
    drawn = (written.get("examples") or {}).get("rows", [])
    template = run.approach.template_version
    return [*(template.demonstrations if template else []), *found, *drawn]


def bring_journal(run: Run, folder: Path) -> None:
    """Copy what runs of the same approach by other seeds have been told on this machine, unless this run has been told something itself.

    The engine looks whether it is the same teacher's.
    """
    if (folder / JOURNAL).exists():
        return
    siblings = Run.objects.filter(approach=run.approach_id).exclude(pk=run.pk).values_list("job", flat=True)
    told = [path for job in siblings for path in Path(settings.ATTEMPTS_DIR, str(job)).glob(f"*/*/{JOURNAL}")]
    if told:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(max(told, key=lambda path: path.stat().st_size), folder / JOURNAL)

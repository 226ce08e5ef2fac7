"""What the prompt pages show: lists, versions and their differences, rows to try on, and what a model answered. Reads only."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from math import exp
from typing import Any

from django.db.models import Count, Min, Prefetch, Q, QuerySet

from experiments.models import (
    Backbone,
    Dataset,
    DatasetVersion,
    Example,
    Preview,
    PromptTemplate,
    Split,
    TemplateAlias,
    TemplateVersion,
    TestOpening,
    Workspace,
)
from experiments.prompting.wording import MAX_DEMONSTRATIONS
from experiments.reads.datasets import rows_matching
from experiments.services.previews import MAX_ROWS

FOUND_ROWS = 8
SHOWN_ANSWERS = 6


@dataclass(frozen=True)
class DiffLine:
    """A line of a comparison of two versions: "added", "removed" or "same"."""

    kind: str
    text: str


@dataclass(frozen=True)
class AnswerShare:
    """How likely a label is among all labels, from 0 to 1."""

    label: str
    share: float
    is_expected: bool


@dataclass(frozen=True)
class TriedRow:
    """One row of a preview with what the model read and answered; of a prompt of two steps with what the first one read and wrote."""

    text: str
    position: int | None
    split: str
    expected: str
    predicted: str
    error: str
    prompt: str
    prompt_tokens: int
    answers: tuple[AnswerShare, ...]
    matches: bool | None = None
    first_text: str | None = None
    first_prompt: str = ""

    @property
    def is_correct(self) -> bool:
        """Right by the engine's own rule where answers are free, else the very label."""
        return not self.error and (self.predicted == self.expected if self.matches is None else self.matches)


def prompts_of(workspace: Workspace) -> "QuerySet[PromptTemplate]":
    """The workspace's prompts, newest first, with their versions (newest first), aliases and data."""
    versions = TemplateVersion.objects.only("template_id", "number", "created_at", "user", "note")
    aliases = TemplateAlias.objects.select_related("version").only("template_id", "name", "version__number")
    return workspace.prompt_templates.select_related("dataset").prefetch_related(
        Prefetch("versions", versions, to_attr="all_versions"), Prefetch("aliases", aliases, to_attr="all_aliases")
    )


def versions_of(template: PromptTemplate) -> "QuerySet[TemplateVersion]":
    """All versions, newest first, with the number of comparisons that use each; learning curves are none."""
    versions = template.versions.select_related("created_by", "optimised_from__template")
    comparisons = Count("approaches__experiment", filter=Q(approaches__experiment__curve_of=None), distinct=True)
    return versions.annotate(num_experiments=comparisons).order_by("-number")


def test_first_opened(dataset: Dataset | None) -> datetime | None:
    """When somebody first saw results on the data's test rows; prompts written afterwards are marked."""
    if dataset is None:
        return None
    first: datetime | None = TestOpening.objects.filter(version__dataset=dataset).aggregate(first=Min("opened_at"))["first"]
    return first


def versions_to_write_for(workspace: Workspace) -> list[DatasetVersion]:
    """The newest complete version of each dataset, the newest data first."""
    newest: dict[Any, DatasetVersion] = {}
    complete = DatasetVersion.objects.complete().filter(dataset__workspace=workspace).select_related("dataset__workspace")
    for version in complete.defer("parse_report", "gate_report").order_by("-dataset__created_at", "-number"):
        newest.setdefault(version.dataset_id, version)
    return list(newest.values())


def backbones_for(workspace: Workspace) -> list[Backbone]:
    """The models that may be tried in this workspace: its own and the bundled ones, none that was refused."""
    return list(Backbone.objects.filter(Q(workspace=workspace) | Q(workspace=None), problem=""))


def lines_diff(before: Sequence[str], after: Sequence[str]) -> list[DiffLine]:
    """The lines of both texts in order, each marked as added, removed or the same."""
    lines = []
    for tag, start, end, new_start, new_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [DiffLine("same", line) for line in before[start:end]]
            continue
        lines += [DiffLine("removed", line) for line in before[start:end]]
        lines += [DiffLine("added", line) for line in after[new_start:new_end]]
    return lines


def row_to_show(version: DatasetVersion, number: int) -> tuple[Example | None, int]:
    """The validation row (train, where there is none) at a place, counted around, and how many there are."""
    rows = _trial_rows(version)
    total = rows.count()
    return (rows[number % total] if total else None), total


def rows_to_try(version: DatasetVersion, *, others: bool) -> list[int]:
    """Ids of up to five rows: always the same ones, or others drawn by chance. Different labels come first."""
    pairs = list(_trial_rows(version).values_list("pk", "label"))
    random.Random(None if others else 0).shuffle(pairs)  # noqa: S311 - nothing secret is drawn
    first_of_label = list({label: pk for pk, label in reversed(pairs)}.values())
    rest = [pk for pk, _ in pairs if pk not in set(first_of_label)]
    return [*first_of_label, *rest][:MAX_ROWS]


def train_rows_found(version: DatasetVersion, query: str, label: str) -> list[Example]:
    """The first train rows that match, to choose examples from."""
    return list(rows_matching(version, split=Split.TRAIN, label=label, query=query)[:FOUND_ROWS])


def demonstrations_draw(version: DatasetVersion, *, per_label: int, seed: int) -> list[int]:
    """Ids of train rows, `per_label` of each label in turn; the same seed draws the same rows."""
    rows = list(version.examples.filter(split=Split.TRAIN).order_by("position").values_list("pk", "label"))
    random.Random(seed).shuffle(rows)  # noqa: S311 - nothing secret is drawn
    by_label: dict[str, list[int]] = {}
    for pk, label in rows:
        by_label.setdefault(label if version.labels else "", []).append(pk)
    turns = [[pks[turn] for pks in by_label.values() if turn < len(pks)] for turn in range(per_label)]
    return [pk for turn in turns for pk in turn][:MAX_DEMONSTRATIONS]


def tried_rows(preview: Preview) -> list[TriedRow]:
    """What a finished preview gave, in the order of the rows. One query."""
    rows = preview.result.get("rows", [])
    examples = preview.dataset_version.examples.in_bulk([int(row["id"]) for row in rows])
    return [_tried(row, examples.get(int(row["id"]))) for row in rows]


def _trial_rows(version: DatasetVersion) -> "QuerySet[Example]":
    split = Split.VALIDATION if version.split_counts.get(Split.VALIDATION) else Split.TRAIN
    return version.examples.filter(split=split).order_by("position")


def _tried(row: dict[str, Any], example: Example | None) -> TriedRow:
    return TriedRow(
        text=" / ".join(example.fields.values()) if example else "",
        position=row.get("position"),
        split=row.get("split") or "",
        expected=row.get("expected", ""),
        predicted=row.get("predicted") or "",
        error=row.get("error") or "",
        prompt=row.get("prompt") or "",
        prompt_tokens=row.get("prompt_tokens", 0),
        answers=_shares(row.get("loglikelihoods") or {}, row.get("expected", "")),
        first_text=row.get("first_text"),
        first_prompt=row.get("first_prompt") or "",
        matches=bool(row["quality"]["exact_match"]) if row.get("quality") else None,
    )


def _shares(loglikelihoods: dict[str, float | None], expected: str) -> tuple[AnswerShare, ...]:
    """The most likely labels; the shares of all labels make 1 (softmax of their log-likelihoods)."""
    known = {label: value for label, value in loglikelihoods.items() if value is not None}
    if not known:
        return ()
    top = max(known.values())
    weights = {label: exp(value - top) for label, value in known.items()}
    total = sum(weights.values())
    ordered = sorted(weights, key=lambda label: -weights[label])
    return tuple(AnswerShare(label, weights[label] / total, label == expected) for label in ordered[:SHOWN_ANSWERS])

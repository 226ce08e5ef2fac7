"""Row by row: what each approach answered. Filters and paging by row number, in few queries whatever the size. Reads only.

Column names come from people's files, so they are only ever values of a query, never part of a lookup's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform

from experiments.models import Evaluation, Example, Experiment, Prediction
from experiments.reads.inks import line_mark, placed

PAGE = 50
MOST_CELLS = 1_000  # a page; with many approaches it has fewer rows, so that none is slow to make or to scroll
SHOWN_CHARACTERS = 160
SHOWN = {"all": "All rows", "wrong": "Wrong in the approach", "differs": "Differs from the baseline", "errors": "Without an answer"}


@dataclass(frozen=True)
class GridQuery:
    """What the address asks for: which rows, a search, and from which row number on."""

    show: str = "all"
    approach: str = ""
    search: str = ""
    after: int = 0
    before: int = 0


@dataclass(frozen=True)
class Cell:
    """One approach's answer to one row; free answers carry how close they come and what is wrong with their form.

    first_text: what the first of two steps wrote about the row.
    """

    approach: str
    answer: str
    correct: bool
    error: str
    differs: bool
    token_f1: float | None = None
    format_problem: str = ""
    first_text: str = ""


@dataclass(frozen=True)
class Line:
    example: Example
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Grid:
    """A page of rows. columns: the table's rows (approaches), one a column; next and previous: row numbers to go on from."""

    columns: tuple[Mapping[str, Any], ...]
    lines: tuple[Line, ...]
    next_after: int | None
    previous_before: int | None


def example_grid(experiment: Experiment, payload: Mapping[str, Any], query: GridQuery) -> Grid:
    """A page of the split that the payload describes, with the answers of each approach's chosen artifact."""
    columns = tuple({**row, "mark": line_mark(row)} for row in placed(payload)["rows"])
    rows = _found(experiment, payload, query)
    size = max(10, min(PAGE, MOST_CELLS // max(1, len(columns))))
    backwards = query.before > 0
    if backwards:
        page = list(rows.filter(position__lt=query.before).order_by("-position")[: size + 1])
    else:
        page = list(rows.filter(position__gt=query.after).order_by("position")[: size + 1])
    more, page = len(page) > size, page[:size]
    if backwards:
        page.reverse()
    answers = _answers(page, columns)
    lines = tuple(Line(example, _cells(example, columns, answers, payload.get("baseline"))) for example in page)
    has_next = bool(page) and (backwards or more)
    has_previous = bool(page) and (query.after > 0 if not backwards else more)
    return Grid(columns, lines, page[-1].position if has_next else None, page[0].position if has_previous else None)


def _found(experiment: Experiment, payload: Mapping[str, Any], query: GridQuery) -> "QuerySet[Example]":
    rows = Example.objects.filter(version=experiment.dataset_version, split=payload["split"])
    chosen = {row["approach"]: row["evaluation"] for row in payload["rows"]}
    if query.show == "wrong" and query.approach in chosen:
        rows = rows.filter(Exists(_predictions([chosen[query.approach]]).filter(correct=False)))
    elif query.show == "differs" and payload.get("baseline") in chosen:
        base = _predictions([chosen[payload["baseline"]]])
        others = [evaluation for approach, evaluation in chosen.items() if approach == query.approach or query.approach not in chosen]
        rows = rows.annotate(base_answer=base.values("predicted")[:1])
        rows = rows.filter(Exists(_predictions(others).exclude(predicted=OuterRef("base_answer"))))
    elif query.show == "errors":
        rows = rows.filter(Exists(_predictions(list(chosen.values())).exclude(error="")))
    return _searched(rows, experiment.dataset_version.columns, query.search)


def _predictions(evaluations: list[str]) -> "QuerySet[Prediction]":
    """The winning attempts' answers to the row of the outer query."""
    return Prediction.objects.filter(
        example=OuterRef("pk"), evaluation__in=[UUID(each) for each in evaluations], attempt=F("evaluation__attempt")
    )


def _searched(rows: "QuerySet[Example]", columns: list[str], search: str) -> "QuerySet[Example]":
    if not search:
        return rows
    found = Q(label__icontains=search)
    for number, column in enumerate(columns):
        rows = rows.alias(**{f"text_{number}": KeyTextTransform(column, "fields")})
        found |= Q(**{f"text_{number}__icontains": search})
    return rows.filter(found)


@dataclass(frozen=True)
class Answer:
    """What was answered, whether it is right, why there is no answer; of a free answer its figures and the form it breaks.

    first_text: what the first of two steps wrote; empty where there is one step.
    """

    text: str
    right: bool
    error: str
    quality: Mapping[str, float] | None
    format_problem: str
    first_text: str


def _answers(page: list[Example], columns: tuple[Mapping[str, Any], ...]) -> dict[tuple[str, int], Answer]:
    """{(evaluation, row): answer} of the winning attempts."""
    wanted = [column["evaluation"] for column in columns]
    winners = list(Evaluation.objects.filter(pk__in=wanted).values_list("attempt", flat=True))
    found = Prediction.objects.filter(evaluation__in=wanted, attempt__in=winners, example__in=page)
    fields = found.values_list("evaluation", "example", "predicted", "text", "correct", "error", "quality", "format_problem", "first_text")
    return {
        (str(evaluation), example): Answer(predicted or text, bool(right), error, quality, problem, first_text)
        for evaluation, example, predicted, text, right, error, quality, problem, first_text in fields
    }


def _cells(
    example: Example, columns: tuple[Mapping[str, Any], ...], answers: Mapping[tuple[str, int], Answer], baseline: str | None
) -> tuple[Cell | None, ...]:
    base_column = next((column["evaluation"] for column in columns if column["approach"] == baseline), "")
    base = answers.get((base_column, example.pk))
    return tuple(_cell(column["name"], answers.get((column["evaluation"], example.pk)), base) for column in columns)


def _cell(approach: str, given: Answer | None, base: Answer | None) -> Cell | None:
    if given is None:
        return None
    return Cell(
        approach,
        _cut(given.text),
        given.right,
        _cut(given.error),
        differs=base is not None and given.text != base.text,
        token_f1=(given.quality or {}).get("token_f1"),
        format_problem=given.format_problem,
        first_text=_cut(given.first_text),
    )


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"

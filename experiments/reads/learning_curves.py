"""A learning curve as plain JSON: accuracy by number of train rows, beside what needs no rows. Reads only; the words are `learning_words`.

Every figure is of validation rows. The point of all rows is the comparison's own run; a point stands for the middle one of its seeds,
which is a run that exists, with an interval of its own, and no luck of a best one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F

from experiments.errors import UserError
from experiments.evidence.rates import holm_adjusted, mcnemar_p, paired_difference, wilson_rate
from experiments.models import Approach, Evaluation, Experiment, Prediction, Run, Split
from experiments.planning.curves import is_written, learns_from_rows, making_seconds
from experiments.reads.costs import making_cost
from experiments.reads.learning_words import curve_sentences

SCHEMA = 1
LEVEL = 0.05


@dataclass(frozen=True)
class Answered:
    """A run with the validation rows that it got right, as ids."""

    run: Run
    right: frozenset[int]
    n: int

    @property
    def accuracy(self) -> float:
        return len(self.right) / self.n


def build_learning_curve(curve: Experiment) -> dict[str, Any]:
    """The points of a curve whose runs have ended, with those that its comparison lends.

    Raises:
        UserError: no run of it has answered the validation rows.
    """
    parent = Experiment.objects.select_related("dataset_version", "price_book").get(curve=curve)
    drawn, own = _answered(curve), _answered(parent)
    if not drawn:
        raise UserError("No run of this learning curve has succeeded, so there is nothing to draw. Try the failed runs again.")
    num_train = parent.dataset_version.split_counts.get(Split.TRAIN, 0)
    written = max((each for each in own if is_written(each.run.approach)), key=lambda each: each.accuracy, default=None)
    lines = _lines(parent, drawn, own, num_train)
    _judge(lines, written)
    payload = {
        "schema": SCHEMA,
        "n": drawn[0].n,
        "num_train": num_train,
        "seeds": curve.seeds,
        "currency": parent.price_book.currency if parent.price_book else "",
        "written": _named(written.run.approach) | _rate(written) if written else None,
        "lines": [{**line, "points": [point for point, _ in line["points"]]} for line in lines],
        "seconds": sum(making_seconds(each.run.result) for each in drawn),
        "missing": _missing(curve),
    }
    return payload | {"sentences": curve_sentences(payload)}


def _answered(experiment: Experiment) -> list[Answered]:
    """The runs that have answered the validation rows, in the order of the plan."""
    complete = Evaluation.objects.filter(
        run__approach__experiment=experiment, dataset_version=experiment.dataset_version_id, split=Split.VALIDATION, attempt__isnull=False
    )
    complete = complete.select_related("run__approach").order_by("run__approach__position", "run__seed")
    wanted = [each for each in complete if is_written(each.run.approach) or learns_from_rows(each.run.approach.method)]
    return [_rows_right(evaluation) for evaluation in wanted]


def _rows_right(evaluation: Evaluation) -> Answered:
    answers = Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt_id)
    right = answers.filter(correct=True, error="").values_list("example", flat=True)
    return Answered(evaluation.run, frozenset(right), answers.count())


def _lines(parent: Experiment, drawn: Sequence[Answered], own: Sequence[Answered], num_train: int) -> list[dict[str, Any]]:
    """A line an approach; each of its points is (figures, the run it stands for)."""
    lines = []
    for approach in Approach.objects.filter(experiment=parent, points__isnull=False).distinct().order_by("position"):
        groups: dict[int, list[Answered]] = {}
        for each in drawn:
            if each.run.approach.point_of_id == approach.pk:
                groups.setdefault(each.run.approach.train_rows or num_train, []).append(each)
        groups[num_train] = [each for each in own if each.run.approach_id == approach.pk]
        points = [_point(parent, rows, group) for rows, group in sorted(groups.items()) if group]
        lines.append({**_named(approach), "points": points})
    return lines


def _point(parent: Experiment, rows: int, group: Sequence[Answered]) -> tuple[dict[str, Any], Answered]:
    ranked = sorted(group, key=lambda each: (each.accuracy, -each.run.seed))
    middle = ranked[(len(ranked) - 1) // 2]
    seconds = making_seconds(middle.run.result)
    cost = making_cost(parent.price_book, device_seconds=seconds, labelled_rows=rows)
    figures = {
        "rows": rows,
        **_rate(middle),
        "seed": middle.run.seed,
        "num_seeds": len(group),
        "lowest": ranked[0].accuracy,
        "highest": ranked[-1].accuracy,
        "seconds": seconds,
        "cost": None if cost.value is None else f"{cost.value:.6f}",
        "delta": None,
    }
    return figures, middle


def _judge(lines: Iterable[dict[str, Any]], written: Answered | None) -> None:
    """Set each point against the best written prompt on the same rows; Holm's correction over all points."""
    points = [point for line in lines for point in line["points"]]
    if written is None or not points:
        return
    gained = [len(each.right - written.right) for _, each in points]
    lost = [len(written.right - each.right) for _, each in points]
    adjusted = holm_adjusted([mcnemar_p(up, down) for up, down in zip(gained, lost, strict=True)])
    for (figures, each), up, down, p in zip(points, gained, lost, adjusted, strict=True):
        found = paired_difference(up, down, each.n)
        is_clear = p < LEVEL and (found.low or 0.0) * (found.high or 0.0) > 0
        verdict = ("better" if up > down else "worse") if is_clear else "no detectable difference"
        figures["delta"] = {"value": found.value, "low": found.low, "high": found.high, "p_adjusted": p, "verdict": verdict}


def _named(approach: Approach) -> dict[str, Any]:
    return {"name": approach.name, "family": approach.family, "method": approach.method, "position": approach.position}


def _rate(each: Answered) -> dict[str, Any]:
    rate = wilson_rate(len(each.right), each.n)
    return {"accuracy": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}


def _missing(curve: Experiment) -> list[dict[str, str]]:
    """Points without a single answer, with the reason that a job of theirs gives."""
    silent = Run.objects.filter(approach__experiment=curve).exclude(
        approach__in=Approach.objects.filter(runs__evaluations__attempt__isnull=False, experiment=curve)
    )
    found = silent.annotate(state=F("job__state"), reason=F("job__error")).select_related("approach").order_by("approach__position")
    return list({run.approach_id: {"name": run.approach.name, "state": run.state, "reason": run.reason} for run in found}.values())

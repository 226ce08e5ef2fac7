"""What device time bought: the best validation score so far against the seconds spent on it. Reads only.

Looks of several configurations are put in the order of their rounds; what a configuration had spent until then counts with the look.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.catalogue.kinds import shape_of
from experiments.models import Evaluation, Experiment, JobState, Run, Split, Trial
from experiments.models.comparisons import Family
from experiments.reads.charts import Chart, Spending, spending_chart

SPENT = ("approach__name", "approach__family", "approach__method", "approach__position", "seed", "result__training")


def tried_chart(trials: Iterable[Trial]) -> Chart | None:
    """The chart of the configurations of one run."""
    summary = "Each line is one configuration. A line that ends early was not among the better third."
    return spending_chart("chart-tried", _spending_of_trials(trials), title="What each configuration reached", summary=summary)


def spending_lines(experiment: Experiment) -> list[dict[str, Any]]:
    """A line for each run that has succeeded: how good its best configuration was after how many device seconds. Three queries."""
    runs = Run.objects.filter(approach__experiment=experiment, job__state=JobState.SUCCEEDED).exclude(
        approach__family__in=[Family.HOSTED, Family.BASELINE]
    )
    tried: dict[Any, list[dict[str, Any]]] = {}
    for run, number, looks in Trial.objects.filter(run__in=runs).values_list("run", "number", "looks"):
        tried.setdefault(run, []).extend({**look, "number": number} for look in looks)
    scored = _scores_at_the_end(experiment)
    lines: list[dict[str, Any]] = []
    for pk, name, family, method, position, seed, training in runs.values_list("pk", *SPENT):
        points = best_so_far(tried.get(pk, [])) or _points_of_curve(training or {}) or _point_at_the_end(training or {}, scored.get(pk))
        named = {"name": name, "family": family, "method": method, "position": position}
        lines.append({**named, "seed": seed, "points": points})
    return [line for line in lines if line["points"]]


def _spending_of_trials(trials: Iterable[Trial]) -> list[Spending]:
    """A line for each configuration of a run: its looks against what it had spent."""
    lines = []
    for trial in trials:
        points = [(look["seconds"], score) for look in trial.looks if (score := _score(look)) is not None]
        if points:
            lines.append(Spending(trial.name, "tuned", shape_of(trial.number), None, tuple(points)))
    return lines


def best_so_far(looks: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(device seconds of all configurations, best share right so far) after every look that brought something.

    Args:
        looks: number, rung, rows, correct and seconds; those of one configuration are sums.
    """
    spent: dict[int, float] = {}
    reached: dict[int, int] = {}
    best: float | None = None
    points: list[tuple[float, float]] = []
    for look in sorted(looks, key=lambda look: (look["rung"], look["number"])):
        spent[look["number"]] = max(spent.get(look["number"], 0.0), look["seconds"])
        score = _score(look)
        # A score on more rows replaces one on fewer, which may have been luck.
        if score is not None and (best is None or score > best or look["rows"] > max(reached.values(), default=0)):
            best = score
            points.append((sum(spent.values()), best))
        reached[look["number"]] = look["rows"]
    if points and best is not None and sum(spent.values()) > points[-1][0]:
        points.append((sum(spent.values()), best))
    return points


def _score(look: Mapping[str, Any]) -> float | None:
    return look["correct"] / look["rows"] if look.get("correct") is not None and look["rows"] else None


def _points_of_curve(training: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The looks of a training without a sweep; each carries its share of the time of all looks."""
    curve, looking = training.get("curve") or [], float(training.get("evaluation_seconds") or 0)
    points: list[tuple[float, float]] = []
    for place, point in enumerate(curve, start=1):
        score = point.get("validation_accuracy")
        if score is not None:
            points.append((point["seconds"] + looking * place / len(curve), max(score, points[-1][1] if points else 0.0)))
    return points


def _point_at_the_end(training: Mapping[str, Any], score: float | None) -> list[tuple[float, float]]:
    return [] if score is None else [(float(training.get("train_seconds") or 0), score)]


def _scores_at_the_end(experiment: Experiment) -> dict[Any, float]:
    rows = Evaluation.objects.filter(run__approach__experiment=experiment, split=Split.VALIDATION, attempt__isnull=False)
    return {run: score for run, score in rows.values_list("run", "summary__accuracy") if score is not None}

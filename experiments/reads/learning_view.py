"""A learning curve as pages and reports show it: the figure, a table of points, and where its runs stand. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.models import Experiment, JobState, Run
from experiments.planning.curves import CurvePlan, curve_plan
from experiments.reads.charts import Chart
from experiments.reads.inks import line_mark
from experiments.reads.learning_chart import learning_chart
from experiments.reads.learning_words import passes_from

TONES = {"better": "delta-better", "worse": "delta-worse"}
# Each is against the written prompt, not against the point before, which a bare "better" under fewer rows reads like.
VERDICTS = {"better": "above the prompt", "worse": "below the prompt", "no detectable difference": "no detectable difference"}
PASSING_ONCE = "above the prompt here, not with every larger number"


@dataclass(frozen=True)
class LearningRow:
    """One approach: a cell for each number of rows, None where it has no point; from how many rows on it passes the written prompt."""

    name: str
    mark: str
    cells: tuple[Mapping[str, Any] | None, ...]
    passes_from: int | None


@dataclass(frozen=True)
class LearningView:
    """What the page of a learning curve shows of its stored points."""

    payload: Mapping[str, Any]
    written_mark: str
    chart: Chart | None
    sizes: tuple[int, ...]
    rows: tuple[LearningRow, ...]
    has_costs: bool


def learning_view(payload: Mapping[str, Any]) -> LearningView | None:
    """The stored points of a curve, ready to be shown; None while there are none."""
    if not payload.get("lines"):
        return None
    sizes = sorted({point["rows"] for line in payload["lines"] for point in line["points"]})
    points = [point for line in payload["lines"] for point in line["points"]]
    has_costs = any(point["cost"] is not None for point in points)
    written_mark = line_mark(payload["written"]) if payload["written"] else ""
    rows = tuple(_row(line, sizes) for line in payload["lines"])
    return LearningView(payload, written_mark, learning_chart(payload), tuple(sizes), rows, has_costs)


def _row(line: Mapping[str, Any], sizes: list[int]) -> LearningRow:
    passing = passes_from(line)
    by_rows = {point["rows"]: _cell(point, passing) for point in line["points"]}
    return LearningRow(line["name"], line_mark(line), tuple(by_rows.get(size) for size in sizes), passing)


def _cell(point: Mapping[str, Any], passing: int | None) -> Mapping[str, Any]:
    """A point with its verdict against the written prompt in words; green only from where on it holds."""
    verdict = (point["delta"] or {}).get("verdict", "")
    lasts = verdict != "better" or (passing is not None and point["rows"] >= passing)
    said = VERDICTS.get(verdict, "") if lasts else PASSING_ONCE
    return {**point, "tone": TONES.get(verdict, "") if lasts else "", "said": said, "interval": [point["low"], point["high"]]}


@dataclass(frozen=True)
class CurvePanel:
    """What a comparison's page says about its learning curve: what one would take, how far it is, or what it shows."""

    plan: CurvePlan | None
    curve: Experiment | None
    view: LearningView | None
    num_runs: int = 0
    num_ended: int = 0


def curve_panel(experiment: Experiment) -> CurvePanel:
    """The learning curve of a comparison, launched or not."""
    curve = Experiment.objects.filter(curve_of=experiment).first()
    if curve is None:
        return CurvePanel(curve_plan(experiment) if experiment.finished_at else None, None, None)
    runs = Run.objects.filter(approach__experiment=curve)
    ended = runs.filter(job__state__in=JobState.terminal())
    return CurvePanel(None, curve, learning_view(curve.learning_curve), runs.count(), ended.count())

"""What is followed while a run trains: its curves as Plotly figures, each with the table that says the same. Knows no query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.reads.charts import DASHES, MARKED_POINTS, MARKERS, Chart, Key, axes_layout, dash, percent_text, plain


@dataclass(frozen=True)
class Curve:
    """One training run: its looks at the validation rows, and its train loss on the way.

    Args:
        hue, shape: its approach's inside the comparison.
        points: step, seconds, train loss since the look before, and validation accuracy of each look.
        losses: step, seconds and mean train loss of equal stretches; runs of earlier versions have none.
        steps: the most steps that it was given.
        looks_at: validation rows of each look, where they are fewer than all; 0 where all were looked at or nobody knows.
    """

    name: str
    hue: str
    shape: str
    seed: int
    points: tuple[Mapping[str, Any], ...]
    losses: tuple[Mapping[str, Any], ...] = ()
    steps: int = 0
    looks_at: int = 0

    def of(self, field: str) -> list[Mapping[str, Any]]:
        """The points that have this value."""
        points = self.losses if field == "train_loss" and self.losses else self.points
        return [point for point in points if point.get(field) is not None]

    @property
    def label(self) -> str:
        return f"{self.name}, seed {self.seed}"


@dataclass(frozen=True)
class CurveKind:
    """One thing that is followed during training: where it stands in a curve's points, and how it reads."""

    id: str
    field: str
    title: str
    summary: str
    is_share: bool

    def text(self, value: float) -> str:
        return percent_text(value) if self.is_share else f"{value:.4f}"


CURVE_KINDS = (
    CurveKind(
        "chart-accuracy",
        "validation_accuracy",
        "Right on validation rows",
        "Where a curve is flat, more steps bring nothing.",
        is_share=True,
    ),
    CurveKind(
        "chart-validation-loss",
        "validation_loss",
        "Loss on validation rows",
        "Lower is better: how unlikely the references are to the model. Where the curve rises again, it learns by heart.",
        is_share=False,
    ),
    CurveKind(
        "chart-inner-accuracy",
        "inner_accuracy",
        "Right on train rows set aside",
        "They chose the step and taught nothing. Where a curve is flat, more steps bring nothing.",
        is_share=True,
    ),
    CurveKind(
        "chart-inner-loss",
        "inner_loss",
        "Loss on train rows set aside",
        "Lower is better: how unlikely the references are to the model. Where the curve rises again, it learns by heart.",
        is_share=False,
    ),
    CurveKind(
        "chart-loss",
        "train_loss",
        "Loss on train rows",
        "Lower is better; a falling loss beside a flat accuracy means learning by heart.",
        is_share=False,
    ),
)


def curve_charts(curves: Sequence[Curve], *, against: str = "step") -> list[Chart]:
    """Validation accuracy and train loss of training runs, against steps or seconds.

    Args:
        against: "step" or "seconds".
    """
    drawn = [curve for curve in curves if curve.points or curve.losses]
    if not drawn:
        return []
    unit = "Seconds of training" if against == "seconds" else "Step"
    # Free answers are written only once, at the end: during training their loss stands in for their accuracy.
    spare = {f"{rows}_loss" for rows in ("validation", "inner") if _has(drawn, f"{rows}_accuracy")}
    kinds = [kind for kind in CURVE_KINDS if kind.field not in spare and _has(drawn, kind.field)]
    return [_curve_chart(drawn, against, unit, kind) for kind in kinds]


def _has(curves: Sequence[Curve], field: str) -> bool:
    return any(curve.of(field) for curve in curves)


def _curve_chart(curves: Sequence[Curve], against: str, unit: str, kind: CurveKind) -> Chart:
    traces, rows = [], []
    for curve in curves:
        points = curve.of(kind.field)
        traces.append(_curve_trace(curve, [point[against] for point in points], [point[kind.field] for point in points]))
        rows += [(curve.label, f"{point[against]:,.4g}", kind.text(point[kind.field])) for point in points]
    layout = axes_layout(unit, kind.title, y_percent=kind.is_share)
    if against == "step" and (steps := max(curve.steps for curve in curves)):
        layout["xaxis"] |= {"range": [0, steps * 1.02]}  # while it trains, the empty part shows how much is still to come
    figure = {"data": traces, "layout": layout}
    keys = tuple(Key(curve.label, curve.hue, MARKERS[curve.shape], DASHES[dash(curve.seed)]) for curve in curves)
    return Chart(kind.id, kind.title, kind.summary + _looks(curves, kind), figure, keys, ("Run", unit, kind.title), tuple(rows))


def _looks(curves: Sequence[Curve], kind: CurveKind) -> str:
    """On how many validation rows the looks were made: the table counts all, so its figures differ from the curve's end."""
    numbers = sorted({curve.looks_at for curve in curves if curve.looks_at and curve.of(kind.field)})
    if not numbers or not kind.field.startswith("validation"):
        return ""
    rows = f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"
    return f" Looks at {rows} validation rows; the results count all of them."


def _curve_trace(curve: Curve, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(x) <= MARKED_POINTS else "lines",
        "name": plain(curve.label),
        "x": list(x),
        "y": list(y),
        "line": {"color": f"token:{curve.hue}", "width": 2, "dash": dash(curve.seed)},
        "marker": {"symbol": curve.shape, "size": 6},
    }

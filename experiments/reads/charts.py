"""Plotly figures as plain dictionaries, each with the sentence and the table that say the same. Knows no query and no library.

Colours are written as "token:<name>" and resolved by static/charts.js from the style sheet's tokens, so that dark and light agree.
Plotly reads a small markup in texts; `plain` keeps people's own words from being read as such.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.reads.headlines import WRITTEN
from experiments.reads.inks import line_ink, line_shape
from experiments.reads.table_view import cost_between
from experiments.wording import currency_sign, listed

# Plotly's name of each marker and dash, with the same drawn in a 28 by 12 box for the key beside the chart.
MARKERS = {
    "circle": "M14 1.5a4.5 4.5 0 1 0 .01 0z",
    "square": "M10 2h8v8h-8z",
    "diamond": "M14 1l5 5-5 5-5-5z",
    "triangle-up": "M14 1.5l5 9h-10z",
    "cross": "M12.5 1.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "x": "M11.5 2 14 4.5 16.5 2 18 3.5 15.5 6 18 8.5 16.5 10 14 7.5 11.5 10 10 8.5 12.5 6 10 3.5z",
    "star": "M14 1l1.5 3.4 3.700.4-2.800 2.500.8 3.700-3.200-1.900-3.200 1.900.8-3.700-2.800-2.500 3.700-.4z",
    "triangle-down": "M9 2h10l-5 9z",
}
DASHES = {"solid": "none", "dash": "5 3", "dot": "1.5 2.5", "dashdot": "6 2.5 1.5 2.5", "longdash": "9 3"}
HEIGHT = 340
LAST_LABEL = 24  # pixels on the right for the half of the last label that stands outside the axis
MARKED_POINTS = 30  # beyond this, markers hide the line
FIRST_VOLUME = 100  # below this, nobody asks what a request costs


@dataclass(frozen=True)
class Key:
    """How one member is drawn: the name of its colour, a marker (SVG path) and a dash (SVG dash array), either of them empty."""

    name: str
    hue: str
    marker: str = ""
    dash: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure, what it shows in a sentence, how its members are drawn, and its numbers as a table.

    The key is HTML beside the figure: it wraps on a phone, where Plotly's own would cover the axis.
    """

    id: str
    title: str
    summary: str
    figure: dict[str, Any]
    keys: tuple[Key, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plain(text: str) -> str:
    """A person's text that Plotly shows as it is written."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def dash(number: int) -> str:
    """The dash that tells approaches, or the seeds of one, apart."""
    return list(DASHES)[number % len(DASHES)]


def quality_chart(payload: Mapping[str, Any]) -> Chart | None:
    """Accuracy against what a request costs: money where every price is known, else computed tokens. Intervals and the Pareto front."""
    rows = payload["rows"]
    priced = [row for row in rows if row["cost"]["per_thousand"] is not None]
    by_money = bool(priced) and len(priced) == len(rows)
    shown = priced if by_money else [row for row in rows if row["tokens"]["computed"] is not None or row["family"] == "baseline"]
    if not shown:
        return None
    points = [(row, float(row["cost"]["per_thousand"]) if by_money else float(row["tokens"]["computed"] or 0)) for row in shown]
    front = _worth_naming([points[index] for index in pareto_front([(x, row["accuracy"]) for row, x in points])], payload)
    currency = shown[0]["cost"]["currency"]
    unit = f"Cost of 1,000 requests ({currency})" if by_money else "Computed tokens a request"
    layout = axes_layout(unit, "Right answers", y_percent=True)
    layout["xaxis"] |= _money_ticks(currency) if by_money else {}
    names = [row["name"] for row, _ in front]
    bars = " Bars sideways go from the fastest to the slowest measurement." if by_money and any(map(_cost_bar, shown)) else ""
    figure = {
        "data": [
            _front_line([(x, row["accuracy"]) for row, x in front]),
            *(_point(row, x, unit) | (_cost_bar(row) if by_money else {}) for row, x in points),
        ],
        "layout": layout,
    }
    return Chart(
        "chart-quality",
        "Right answers against cost" if by_money else "Right answers against tokens",
        f"Higher is better, further left is cheaper. {_front_words(names)}{bars}",
        figure,
        tuple(Key(row["name"], line_ink(row), marker=MARKERS[line_shape(row)]) for row in shown),
        ("Approach", unit, "Right", "95% interval"),
        tuple(
            (row["name"], f"{x:,.4g}", percent_text(row["accuracy"]), f"{percent_text(row['low'])} to {percent_text(row['high'])}")
            for row, x in points
        ),
    )


def _money_ticks(currency: str) -> dict[str, str]:
    """Ticks as plain decimals: Plotly's own would call a fiftieth of a cent "200μ"."""
    return {"exponentformat": "none", "tickprefix": currency_sign(currency)}


def _worth_naming(front: Sequence[tuple[Mapping[str, Any], float]], payload: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], float]]:
    """The front, (row, cost), without those worse than the baseline or the best written prompt: cheap alone is no recommendation."""
    bars = [row for row in payload["rows"] if row["family"] in WRITTEN or row["approach"] == payload.get("baseline")]
    bar = max((row["accuracy"] for row in bars), default=0.0)
    return [(row, x) for row, x in front if row["high"] >= bar and (row.get("delta") or {}).get("verdict") != "worse"]


def _front_words(names: Sequence[str]) -> str:
    joined = "; the dotted line joins them" if len(names) > 1 else ""
    return f"Nothing is both cheaper and better than {listed(names, most=8)}{joined}."


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, quality) that no other point beats on one and equals on the other, cheapest first."""
    front: list[int] = []
    best = float("-inf")
    for index in sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1])):
        if points[index][1] > best:
            front.append(index)
            best = points[index][1]
    return front


def _point(row: Mapping[str, Any], x: float, unit: str) -> dict[str, Any]:
    text = (
        f"{plain(row['name'])}<br>{percent_text(row['accuracy'])} right "
        f"({percent_text(row['low'])} to {percent_text(row['high'])})<br>{unit}: {x:,.4g}"
    )
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(row["name"]),
        "x": [x],
        "y": [row["accuracy"]],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [row["high"] - row["accuracy"]],
            "arrayminus": [row["accuracy"] - row["low"]],
            "color": f"token:{line_ink(row)}",
            "thickness": 1.5,
            "width": 4,
        },
        "marker": {"symbol": line_shape(row), "size": 11, "color": f"token:{line_ink(row)}"},
        "cliponaxis": False,  # what costs next to nothing stands on the axis, and would be cut in half
        "hoverinfo": "text",
        "hovertext": [text],
    }


def _cost_bar(row: Mapping[str, Any]) -> dict[str, Any]:
    """From the fastest to the slowest pass that measured the speed; nothing where they are one."""
    between = cost_between(row)
    if not between or not between["varies"]:
        return {}
    cost, low, high = (float(each) for each in (row["cost"]["per_thousand"], between["low"], between["high"]))
    bar = {"type": "data", "symmetric": False, "array": [high - cost], "arrayminus": [cost - low]}
    return {"error_x": {**bar, "color": f"token:{line_ink(row)}", "thickness": 1.5, "width": 4}}


def _front_line(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "line": {"color": "token:line-strong", "width": 1.5, "dash": "dot", "shape": "hv"},
        "hoverinfo": "skip",
    }


def break_even_chart(payload: Mapping[str, Any]) -> Chart | None:
    """What approaches cost in all by the number of requests; None while prices are unknown."""
    money = payload.get("money") or {}
    lines = {line["approach"]: line for line in money.get("rows", []) if all(amount["value"] is not None for amount in line["totals"])}
    rows = [row for row in _money_rows(payload) if row["approach"] in lines]
    if len(rows) < 2:
        return None
    currency = money["prices"]["currency"]
    first = money["volumes"].index(FIRST_VOLUME)
    volumes = money["volumes"][first:]
    totals = {row["approach"]: [float(amount["value"]) for amount in lines[row["approach"]]["totals"][first:]] for row in rows}
    traces = [_money_line(row, volumes, totals[row["approach"]], dash(at)) for at, row in enumerate(rows)]
    layout = axes_layout("Requests in all", f"Cost in all ({currency})")
    layout["xaxis"] = {**layout["xaxis"], "type": "log", "rangemode": "normal", "exponentformat": "B"}
    layout["yaxis"] = {**layout["yaxis"], "type": "log", "tickformat": ",~r"}
    shown = [at for at, volume in enumerate(volumes) if str(volume)[0] == "1"]
    return Chart(
        "chart-break-even",
        "Cost by number of requests",
        "One-off cost plus serving, both axes in powers of ten. Where two lines cross, the cheaper one changes.",
        {"data": traces, "layout": layout},
        tuple(Key(row["name"], line_ink(row), dash=DASHES[dash(at)]) for at, row in enumerate(rows)),
        ("Approach", *(f"{volumes[at]:,}" for at in shown)),
        tuple((row["name"], *(f"{totals[row['approach']][at]:,.2f}" for at in shown)) for row in rows),
    )


def _money_rows(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The baseline and the best of each family: few enough to tell the lines apart."""
    by_quality = sorted(payload["rows"], key=lambda row: -row["accuracy"])
    chosen = [row for row in by_quality if row["approach"] == payload.get("baseline")]
    for row in by_quality:
        if sum(1 for other in chosen if other["family"] == row["family"]) < (2 if row["family"] == "tuned" else 1):
            chosen.append(row)
    return chosen


def _money_line(row: Mapping[str, Any], volumes: Sequence[int], totals: Sequence[float], dashed: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(row["name"]),
        "x": list(volumes),
        "y": [max(total, 1e-9) for total in totals],
        "line": {"color": f"token:{line_ink(row)}", "width": 2, "dash": dashed},
    }


@dataclass(frozen=True)
class Spending:
    """What came of device seconds: of a run, or of one configuration of a run.

    Args:
        shape: of the mark on its points, one of MARKERS.
        seed: of a run; None where all lines are of one seed.
        points: (device seconds spent, share right on validation rows).
    """

    name: str
    hue: str
    shape: str
    seed: int | None
    points: Sequence[Sequence[float]]

    @property
    def label(self) -> str:
        return self.name if not self.seed else f"{self.name}, seed {self.seed}"


def spent_chart(payload: Mapping[str, Any]) -> Chart | None:
    """Of each run, the best validation score so far against the device seconds that making it took."""
    spending = payload.get("spending") or []
    lines = [Spending(line["name"], line_ink(line), line_shape(line), line["seed"], line["points"]) for line in spending]
    summary = "The best validation score so far against the device seconds that making it took, every configuration counted."
    return spending_chart("chart-spending", lines, title="What device time bought", summary=summary)


def spending_chart(chart_id: str, lines: Sequence[Spending], *, title: str, summary: str) -> Chart | None:
    """Validation score against device seconds; None where no seconds were spent."""
    if not any(seconds > 0 for line in lines for seconds, _ in line.points):
        return None
    unit, score = "Device seconds spent", "Right on validation rows"
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(line.points) <= MARKED_POINTS else "lines",
            "name": plain(line.label),
            "x": [seconds for seconds, _ in line.points],
            "y": [share for _, share in line.points],
            "line": {"color": f"token:{line.hue}", "width": 2, "dash": dash(line.seed or 0), "shape": "hv"},
            "marker": {"symbol": line.shape, "size": 7},
            "cliponaxis": False,  # a written prompt took no seconds: its mark stands on the axis, and would be cut in half
        }
        for line in lines
    ]
    keys = tuple(Key(line.label, line.hue, MARKERS[line.shape], DASHES[dash(line.seed or 0)]) for line in lines)
    rows = tuple((line.label, f"{seconds:,.1f}", percent_text(share)) for line in lines for seconds, share in line.points)
    figure = {"data": traces, "layout": axes_layout(unit, score, y_percent=True)}
    return Chart(chart_id, title, summary, figure, keys, ("Approach", unit, score), rows)


def axes_layout(x_title: str, y_title: str, *, y_percent: bool = False) -> dict[str, Any]:
    """The look that every figure shares: no frame, no legend of Plotly's own, colours of the style sheet."""
    axis = {"gridcolor": "token:line", "zerolinecolor": "token:line", "linecolor": "token:line-strong"}
    return {
        "height": HEIGHT,
        "margin": {"l": 8, "r": LAST_LABEL, "t": 8, "b": 8},
        "paper_bgcolor": "token:transparent",
        "plot_bgcolor": "token:transparent",
        "font": {"family": "token:font", "size": 12, "color": "token:text-colour"},
        "hoverlabel": {
            "bgcolor": "token:surface",
            "bordercolor": "token:line-strong",
            "font": {"color": "token:text-colour"},
            "align": "left",
        },
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": False,
        # Each axis makes room on its own side only. A last label that also pushed the right side would change the width, the width
        # the labels, and so on: Plotly gives up after a few rounds and says so on the console.
        "xaxis": {**axis, "title": {"text": x_title}, "automargin": "height", "fixedrange": True, "rangemode": "tozero"},
        "yaxis": {
            **axis,
            "title": {"text": y_title},
            "automargin": "width",
            "fixedrange": True,
            **({"tickformat": ".0%"} if y_percent else {}),
        },
    }


def percent_text(share: float) -> str:
    """A share as figures show it: "87.3%"."""
    return f"{share * 100:.1f}%"

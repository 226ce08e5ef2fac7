"""The figure of a learning curve: accuracy with its interval against train rows, rows on a log axis. Knows no query."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.reads.charts import DASHES, MARKERS, Chart, Key, axes_layout, percent_text, plain
from experiments.reads.inks import line_ink, line_shape

APART = 1.035  # neighbouring lines stand this factor apart, so that their intervals do not hide each other


def learning_chart(payload: Mapping[str, Any]) -> Chart | None:
    """Every line of a learning curve, and the best written prompt as a level; None while there is no point."""
    lines = [line for line in payload.get("lines", []) if line["points"]]
    if not lines:
        return None
    ticks = sorted({point["rows"] for line in lines for point in line["points"]})
    written = payload["written"]
    layout = axes_layout("Train rows", "Right on validation rows", y_percent=True)
    names = [f"all {rows:,}" if rows == payload["num_train"] else f"{rows:,}" for rows in ticks]
    layout["xaxis"] |= {"type": "log", "rangemode": "normal", "tickvals": ticks, "ticktext": names}
    traces = [_trace(line, at - (len(lines) - 1) / 2) for at, line in enumerate(lines)]
    keys = [Key(line["name"], line_ink(line), MARKERS[line_shape(line)], DASHES["solid"]) for line in lines]
    if written:
        traces.insert(0, _level(written, ticks))
        keys.insert(0, Key(f"{written['name']}: the best written prompt", line_ink(written), dash=DASHES["dash"]))
    return Chart(
        "chart-learning",
        "Right answers by number of train rows",
        "Bars are 95% intervals; rows grow fourfold." + (" Above the dashed line, learning pays in accuracy." if written else ""),
        {"data": traces, "layout": layout},
        tuple(keys),
        ("Approach", "Train rows", "Right", "95% interval"),
        tuple(
            (
                line["name"],
                f"{point['rows']:,}",
                percent_text(point["accuracy"]),
                f"{percent_text(point['low'])} to {percent_text(point['high'])}",
            )
            for line in lines
            for point in line["points"]
        ),
    )


def _trace(line: Mapping[str, Any], place: float) -> dict[str, Any]:
    points = line["points"]
    texts = [
        f"{plain(line['name'])}<br>{point['rows']:,} train rows<br>{percent_text(point['accuracy'])} right "
        f"({percent_text(point['low'])} to {percent_text(point['high'])})"
        for point in points
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(line["name"]),
        "x": [point["rows"] * APART**place for point in points],
        "y": [point["accuracy"] for point in points],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [point["high"] - point["accuracy"] for point in points],
            "arrayminus": [point["accuracy"] - point["low"] for point in points],
            "color": f"token:{line_ink(line)}",
            "thickness": 1,
            "width": 3,
        },
        "line": {"color": f"token:{line_ink(line)}", "width": 2},
        "marker": {"symbol": line_shape(line), "size": 8, "color": f"token:{line_ink(line)}"},
        "hoverinfo": "text",
        "hovertext": texts,
    }


def _level(written: Mapping[str, Any], ticks: Sequence[int]) -> dict[str, Any]:
    """A prompt that learns from no rows, as the same height everywhere."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(written["name"]),
        "x": [ticks[0], ticks[-1]],
        "y": [written["accuracy"]] * 2,
        "line": {"color": f"token:{line_ink(written)}", "width": 2, "dash": "dash"},
        "hoverinfo": "text",
        "hovertext": [f"{plain(written['name'])}<br>{percent_text(written['accuracy'])} right with no train rows"] * 2,
    }

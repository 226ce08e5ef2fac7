"""What a learning curve lets a product team say: from how many rows on, and whether more rows still help. Knows no query."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evidence.verdicts import points as in_points
from experiments.wording import counted

Line = Mapping[str, Any]
LEARNED = ("tuned", "hybrid")
HARDLY = 0.01  # a gain of less than a point is not worth labelling for


def curve_sentences(payload: Mapping[str, Any]) -> list[str]:
    """The first sentence says from how many rows on a learned approach passes the best written prompt; the others what follows."""
    lines = [line for line in payload["lines"] if line["family"] in LEARNED and line["points"]]
    lines = lines or [line for line in payload["lines"] if line["family"] != "baseline" and line["points"]]
    if not lines:
        return []
    best, first = _first_to_pass(lines, payload)
    sentences = [first, _plain(best, payload), _gain(best, payload["num_train"])]
    return [sentence for sentence in sentences if sentence]


def passes_from(line: Line) -> int | None:
    """The rows from which on every point of a line is better than the best written prompt; None when the last is not."""
    rows = None
    for point in reversed(line["points"]):
        if not point["delta"] or point["delta"]["verdict"] != "better":
            break
        rows = point["rows"]
    return rows


def _first_to_pass(lines: Sequence[Line], payload: Mapping[str, Any]) -> tuple[Line, str]:
    """The line that passes with the fewest rows, or else the best at the end, and the sentence about it."""
    passing = [(rows, line) for line in lines if (rows := passes_from(line)) is not None]
    written = payload["written"]
    if not passing:
        best = max(lines, key=lambda line: line["points"][-1]["accuracy"])
        return best, _not_passed(best, payload)
    rows, best = min(passing, key=lambda each: (each[0], -_at(each[1], each[0])["accuracy"]))
    point = _at(best, rows)
    against = f"the best written prompt, {written['name']}: {point['accuracy']:.1%} against {written['accuracy']:.1%}"
    of = f"of {counted(payload['n'], 'validation row')}"
    if rows == payload["num_train"]:
        return best, f"Only with all {counted(rows, 'train row')} does {best['name']} pass {against} {of}."
    return best, f"With {counted(rows, 'train row')} {best['name']} passes {against} {of}."


def _not_passed(best: Line, payload: Mapping[str, Any]) -> str:
    last, written = best["points"][-1], payload["written"]
    reached = f"{best['name']} reaches {last['accuracy']:.1%} of {counted(payload['n'], 'validation row')}"
    if written is None:
        return f"With {counted(last['rows'], 'train row')} {reached}; no written prompt stands beside it."
    name = f"the best written prompt, {written['name']}, with {written['accuracy']:.1%}"
    if last["accuracy"] > written["accuracy"]:
        rows = counted(last["rows"], "train row")
        return f"No number of rows tried makes a learned approach detectably better than {name}: with {rows} {reached}."
    return f"No number of rows tried makes a learned approach pass {name}: with {counted(last['rows'], 'train row')} {reached}."


def _plain(best: Line, payload: Mapping[str, Any]) -> str:
    """Nobody should tune a model where a plain classifier does as well with the same rows."""
    rows = passes_from(best) or best["points"][-1]["rows"]
    ours = _at(best, rows)["accuracy"]
    plain = [(point["accuracy"], line["name"]) for line in payload["lines"] if line["family"] == "baseline" for point in line["points"]
             if point["rows"] == rows and point["accuracy"] >= ours]  # fmt: skip
    if not plain:
        return ""
    accuracy, name = max(plain)
    return f"The plain baseline {name} has {accuracy:.1%} with the same {counted(rows, 'row')}."


def _gain(best: Line, num_train: int) -> str:
    """What the last step of the curve brought: the hint whether labelling more rows would help."""
    if len(best["points"]) < 2:
        return ""
    before, last = best["points"][-2:]
    gained = last["accuracy"] - before["accuracy"]
    rows = f"all {last['rows']:,}" if last["rows"] == num_train else f"{last['rows']:,}"
    step = f"From {before['rows']:,} to {rows} rows {best['name']}"
    if gained < HARDLY:
        return f"{step} gains {in_points(gained)} points, so more rows of this kind bring little." if gained >= 0 else (
            f"{step} loses {in_points(-gained)} points, so the curve is flat within chance."
        )  # fmt: skip
    if last["low"] <= before["high"]:
        return f"{step} gains {in_points(gained)} points, which may be chance: the intervals overlap."
    return f"{step} gains {in_points(gained)} points: it was still learning."


def _at(line: Line, rows: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(point for point in line["points"] if point["rows"] == rows)
    return found

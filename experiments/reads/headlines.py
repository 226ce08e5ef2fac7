"""The one sentence that a manager reads first, made of a stored table. Claims no more than the intervals allow. Knows no query."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from experiments.evidence.verdicts import only_by_correction, points
from experiments.ledger import by_one_measurement
from experiments.wording import counted, listed

Row = Mapping[str, Any]
WRITTEN = ("engineered", "hosted")
LEARNED = ("tuned", "hybrid")
SPLIT_NAMES = {"test": "test", "validation": "validation", "train": "train"}


def headline(payload: Mapping[str, Any]) -> str:
    """Who is best, by how much, against what, and what it costs; with what cannot be told apart from it."""
    rows = {row["approach"]: row for row in payload.get("rows", [])}
    best = rows.get(payload.get("best", ""))
    if best is None:
        return ""
    parts = [
        _rate(best, payload),
        _ties(best, list(rows.values())),
        _against(best, rows.get(payload.get("baseline") or ""), chosen=bool(payload.get("baseline_chosen"))),
        _plain_baseline(best, rows),
        _money(best, payload),
    ]
    return " ".join(part for part in parts if part)


def _rate(best: Row, payload: Mapping[str, Any]) -> str:
    split = SPLIT_NAMES.get(payload["split"], payload["split"])
    interval = f"({best['low']:.1%} to {best['high']:.1%})"
    rate = f"{best['accuracy']:.1%} {interval}" if payload.get("task") == "extraction" else f"{best['accuracy']:.1%} right {interval}"
    answered = "matched the reference exactly in" if payload.get("task") == "extraction" else "answered"
    return f"On {counted(payload['n'], f'{split} row')}, {best['name']} {answered} {rate}."


def tied(best: Row, rows: Iterable[Row]) -> list[Row]:
    """The other approaches that are right as often as the best."""
    return [row for row in rows if row["approach"] != best["approach"] and row["accuracy"] == best["accuracy"]]


def is_cheapest(best: Row, others: Iterable[Row]) -> bool:
    """Whether a request of the best is known to cost less than of each of the others."""
    costs = [(row.get("cost") or {}).get("per_thousand") for row in (best, *others)]
    known = [Decimal(cost) for cost in costs if cost is not None]
    return len(known) == len(costs) > 1 and known[0] < min(known[1:])


def _ties(best: Row, rows: Sequence[Row]) -> str:
    """Which others share the first place, and why they are not named there."""
    others = tied(best, rows)
    if not others:
        return ""
    verb, costs = ("is", "costs") if len(others) == 1 else ("are", "cost")
    return f"{listed(row['name'] for row in others)} {verb} right as often{f' and {costs} more' if is_cheapest(best, others) else ''}."


def _against(best: Row, baseline: Row | None, *, chosen: bool) -> str:
    """The best against the approach that the others are measured against."""
    if baseline is None or baseline["approach"] == best["approach"]:
        return "No other approach did better." if baseline else ""
    delta = best.get("delta")
    if not delta:
        return ""
    is_best_prompt = baseline["family"] in WRITTEN and not chosen
    name = f"the best written prompt, {baseline['name']}," if is_best_prompt else baseline["name"]
    if delta["verdict"] == "no detectable difference":
        interval = f"{points(delta['low'], sign=True)} to {points(delta['high'], sign=True)} points"
        if only_by_correction(delta["verdict"], delta["low"], delta["high"]):
            interval += f"; the interval excludes 0, but among {counted(delta['num_compared'], 'comparison')} that may be chance"
        return f"That is not detectably different from {name} with {baseline['accuracy']:.1%} ({interval})."
    interval = f"{points(delta['low'])} to {points(delta['high'])}"
    return f"That is {points(delta['value'])} points ({interval}) more than {name} with {baseline['accuracy']:.1%}."


def _plain_baseline(best: Row, rows: Mapping[str, Row]) -> str:
    """A plain classifier that does as well deserves the sentence: nobody should tune a model to lose to TF-IDF."""
    plain = [row for row in rows.values() if row["family"] == "baseline"]
    if not plain or best["family"] == "baseline":
        return "A plain baseline is the best here: no language model is needed for this." if best["family"] == "baseline" else ""
    strongest = max(plain, key=lambda row: row["accuracy"])
    if strongest["accuracy"] >= best["accuracy"]:
        return f"The plain baseline {strongest['name']} is right as often: no language model is needed for this."
    if strongest["high"] >= best["low"]:
        return f"The plain baseline {strongest['name']} comes close with {strongest['accuracy']:.1%}."
    return ""


def measured_once(payload: Mapping[str, Any]) -> str:
    """Whose speed was measured in one pass only, of the best approach and the baseline; empty where it was neither's."""
    lines = (payload.get("money") or {}).get("rows", [])
    once = {line["approach"] for line in lines if line.get("passes") == 1}
    return by_one_measurement(payload.get("best") in once, payload.get("baseline") in once)


def _money(best: Row, payload: Mapping[str, Any]) -> str:
    """From which volume the best approach pays, where prices are known and it was trained."""
    if best["family"] not in LEARNED:
        return ""
    line = next((row for row in payload.get("money", {}).get("rows", []) if row["approach"] == best["approach"]), None)
    pays = (line or {}).get("break_even") or {"pays": "unknown"}
    requests, name = counted(pays.get("requests") or 0, "request"), best["name"]
    between = f"between {pays['low']:,} and {pays['high']:,}, as far as the measurements vary" if pays.get("low") is not None else ""
    notes = "; ".join(filter(None, [between, measured_once(payload)]))
    sure = f" ({notes})" if notes else ""
    return {
        "from": f"{name} pays from {requests} on{sure}, with wrong answers not priced.",
        "until": f"{name} costs less up to {requests}{sure}, with wrong answers not priced.",
        "unclear": f"Whether {name} costs less is too close to call: the measurements vary more than the costs differ.",
        "always": f"{name} costs less at every volume as well{sure}.",
        "never": f"{name} costs more at every volume{sure}, with wrong answers not priced.",
    }.get(pays["pays"], "")

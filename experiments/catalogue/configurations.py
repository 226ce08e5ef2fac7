"""How many configurations each approach tries, so that all get the same number of looks at the validation rows.

Knows the catalogue's dials; reads no database. The arithmetic of rounds is the engine's (tests/architecture compares both).
"""

from collections.abc import Mapping
from typing import Any

from experiments.catalogue.kinds import BASELINE

MOST = 64
ETA = 3
_REASONS = {
    "label_bias": "its numbers are fitted, not chosen",
    "nearest": "every row draws examples of its own",
    "dspy_search": "its own budget decides how many prompts it tries",
    "two_steps": "a prompt of two steps is not reworded",
    "score": "its labels are chosen by another score than wordings are compared by",
    "hosted": "each further wording would be billed by the endpoint",
    BASELINE: "a plain baseline has no settings to try",
}


def reason_for_one(family: str, method: str, options: Mapping[str, Any], *, two_steps: bool = False) -> str:
    """Why an approach tries only the configuration that was set, as part of a sentence; empty where it can try more.

    Args:
        options: written out.
        two_steps: its prompt has a first step.
    """
    if family in _REASONS or method in _REASONS:
        return _REASONS.get(family) or _REASONS[method]
    if two_steps:
        return _REASONS["two_steps"]
    if options.get("policy") == "nearest":
        return _REASONS["nearest"]
    return _REASONS["score"] if options.get("score", "sum") != "sum" else ""


def with_configurations(method: str, options: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The options of an approach that is to try this many configurations; what somebody set for it stays."""
    return {"max_candidates" if method == "prompt_search" else "configurations": number, **options}


def num_configurations(options: Mapping[str, Any]) -> int:
    """How many configurations an approach with these options, written out, tries."""
    return int(options.get("max_candidates") or options.get("configurations") or 1)


def stages_of(configurations: int, steps: int, every: int) -> list[tuple[int, int]]:
    """Rounds of successive halving as (configurations, steps that each has taken when the round ends)."""
    count = 1
    while ETA ** (count - 1) < configurations:
        count += 1
    stages: list[tuple[int, int]] = []
    for place in range(count):
        ends = min(steps, -(-steps // (ETA ** (count - 1 - place) * every)) * every)
        if not stages or ends > stages[-1][1]:
            stages.append((-(-configurations // ETA**place), ends))
    return stages


def sweep_steps(options: Mapping[str, Any]) -> int:
    """Most training steps of one run with these options, written out; 0 where nothing is trained."""
    steps, number = int(options.get("max_steps") or 0), int(options.get("configurations") or 1)
    if options.get("rounds") != "halved" or number == 1:
        return steps * number
    stages = stages_of(number, steps, int(options["evaluate_every"]))
    before = [0, *(ends for _, ends in stages)]
    return sum(each * (ends - already) for (each, ends), already in zip(stages, before, strict=False))


def sweep_rows(options: Mapping[str, Any], num_rows: int) -> int:
    """Most validation rows that are answered before an approach of written words is chosen; 0 where nothing is chosen."""
    if "max_steps" in options or int(options.get("configurations") or 1) == 1:
        return 0
    return int(options["configurations"]) * num_rows

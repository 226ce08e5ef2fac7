"""What a person should know of a comparison before it starts, though nothing stands against it. Reads the plan; writes nothing."""

from collections.abc import Iterator

from experiments.capabilities import capability_of
from experiments.plans import ApproachPlan, ExperimentPlan


def plan_notes(plan: ExperimentPlan) -> list[str]:
    """A sentence for everything in a plan that is not quite what its name says."""
    return list(dict.fromkeys(note for approach in plan.approaches for note in _capability_notes(approach)))


def _capability_notes(approach: ApproachPlan) -> Iterator[str]:
    known = capability_of(approach.backbone.facts.get("family"), approach.kind.method)
    if known and known.note:
        yield f"{approach.kind.name} on {approach.backbone.name}: {known.note}"

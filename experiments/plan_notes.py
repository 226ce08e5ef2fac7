"""What a person should know of a comparison before it starts, though nothing stands against it. Reads the plan; writes nothing."""

from collections.abc import Iterator

from experiments.capabilities import capability_of
from experiments.plans import ApproachPlan, ExperimentPlan


def plan_notes(plan: ExperimentPlan) -> list[str]:
    """A sentence for everything in a plan that is not quite what it looks like."""
    found = (note for approach in plan.approaches for note in (*_capability_notes(approach), *_search_notes(plan, approach)))
    return list(dict.fromkeys(found))


def _capability_notes(approach: ApproachPlan) -> Iterator[str]:
    known = capability_of(approach.backbone.facts.get("family"), approach.kind.method)
    if known and known.note:
        yield f"{approach.kind.name} on {approach.backbone.name}: {known.note}"


def _search_notes(plan: ExperimentPlan, approach: ApproachPlan) -> Iterator[str]:
    """A search has a number of its own, which a comparison of one configuration each leaves as it is."""
    most = int(str(approach.options.get("max_candidates") or approach.kind.default_of("max_candidates") or 1))
    if plan.configurations == 1 and most > 1:
        yield (
            f"{approach.kind.name} tries up to {most} prompts on validation rows, while the others run as they are set. "
            "A higher number of configurations of each approach is the same for all of them."
        )

"""What a person should know of a comparison before it starts, though nothing stands against it. Reads the plan; writes nothing."""

from collections.abc import Iterator

from experiments.capabilities import capability_of
from experiments.plans import ApproachPlan, ExperimentPlan
from experiments.recipes import recipe_options
from experiments.wording import counted, listed


def plan_notes(plan: ExperimentPlan) -> list[str]:
    """A sentence for everything in a plan that is not quite what it looks like."""
    found = (note for approach in plan.approaches for note in (*_capability_notes(approach), *_search_notes(plan, approach)))
    return list(dict.fromkeys([*found, *_step_notes(plan)]))


def _capability_notes(approach: ApproachPlan) -> Iterator[str]:
    known = capability_of(approach.backbone.facts.get("family"), approach.kind)
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


def _step_notes(plan: ExperimentPlan) -> Iterator[str]:
    """Trainings whose warm-up or looks are made for more steps than there are; approaches with the same settings share a sentence."""
    names: dict[tuple[int, ...], list[str]] = {}
    for approach in plan.approaches:
        options = recipe_options(approach.recipe, approach.options, approach.backbone.facts)
        if "max_steps" in options:
            asked = tuple(int(str(options[name])) for name in ("max_steps", "warmup_steps", "evaluate_every"))
            names.setdefault(asked, []).append(approach.kind.name)
    for (steps, warmup, every), alike in names.items():
        yield from (f"{listed(dict.fromkeys(alike))}: {note}" for note in _short_notes(steps, warmup, every))


def _short_notes(steps: int, warmup: int, every: int) -> Iterator[str]:
    if warmup >= steps:
        yield (
            f"warm-up takes {counted(warmup, 'step')} and the whole training {counted(steps, 'step')}, so the learning rate only rises. "
            "Choose a shorter warm-up or more steps."
        )
    if every > steps:
        yield (
            f"with a look every {counted(every, 'step')} and {counted(steps, 'step')} in all, only the start and the end are looked at. "
            "Look more often, so that a better step between them can be kept."
        )

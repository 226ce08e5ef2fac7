"""What a person should know of a comparison before it starts, though nothing stands against it. Reads the plan; writes nothing."""

from collections.abc import Iterator
from typing import Any

from experiments.catalogue.capabilities import capability_of
from experiments.catalogue.recipes import recipe_options
from experiments.models import Split
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.wording import counted, listed

FEWEST_INNER_ROWS = 20  # the engine's: fewer are right or wrong by luck


def plan_notes(plan: ExperimentPlan) -> list[str]:
    """A sentence for everything in a plan that is not quite what it looks like."""
    found = (
        note
        for approach in plan.approaches
        for note in (*_capability_notes(approach), *_search_notes(plan, approach), *_size_notes(plan, approach))
    )
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


def _size_notes(plan: ExperimentPlan, approach: ApproachPlan) -> Iterator[str]:
    """Dials that were set larger than what they are cut from. What a student learns on may be other rows than the train rows."""
    options: dict[str, Any] = recipe_options(approach.recipe, approach.options, approach.backbone.facts)
    rows, width = plan.dataset_version.split_counts.get(Split.TRAIN, 0), approach.backbone.facts.get("hidden_size")
    name, learns_on_train = approach.kind.name, approach.teacher is None
    if learns_on_train and approach.options.get("batch_size") and options["batch_size"] > rows:
        yield f"{name}: a batch of {options['batch_size']:,} rows, but {counted(rows, 'train row')} in all, so every step takes all."
    aside = round(rows * float(options.get("inner_share", 0)))
    if learns_on_train and options.get("chosen_on") == "inner" and aside < FEWEST_INNER_ROWS:
        yield (
            f"{name}: {counted(aside, 'train row')} set aside would be too few to choose the step by, so validation rows choose it. "
            "Set a larger share aside, or add train rows."
        )
    if isinstance(width, int) and options.get("rank", 0) > width:
        yield f"{name}: the rank {options['rank']} is above the model's width ({width}); what is beyond that costs memory and adds little."


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

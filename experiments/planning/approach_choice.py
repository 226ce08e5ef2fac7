"""What a person ticks before a comparison, and the approaches that it means. Writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.catalogue.kinds import BASELINE, RecipeKind
from experiments.catalogue.recipes import BASELINES, CATALOGUE, recipe_get
from experiments.models import Artifact, Backbone, DatasetVersion, TemplateVersion
from experiments.models.datasets import Task
from experiments.planning.checks import endpoint_problems
from experiments.planning.plans import WITHOUT_MODEL, ApproachPlan
from experiments.planning.teachers import Teacher, default_teacher


@dataclass(frozen=True)
class Choice:
    """What is ticked on the form: recipes by key, prompts, one model, the prompt that tuned approaches start from, and hosted models.

    Each hosted model in `endpoints` answers the written prompts beside the one model.

    Args:
        starts: tuned prompts by recipe, for approaches that start from one.
        teachers: teachers by recipe; without one, an approach that needs it learns from the prompt with the most examples.
    """

    dataset_version: DatasetVersion
    recipes: Sequence[str]
    templates: Sequence[TemplateVersion]
    backbone: Backbone
    tuned_template: TemplateVersion | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    endpoints: Sequence[Backbone] = ()
    starts: Mapping[str, Artifact] = field(default_factory=dict)
    teachers: Mapping[str, Teacher] = field(default_factory=dict)

    def teacher_of(self, kind: RecipeKind) -> Teacher | None:
        return self.teachers.get(kind.key) or (default_teacher(self.templates) if kind.taught else None)


def approaches_expand(*, choice: Choice) -> tuple[tuple[ApproachPlan, ...], list[str]]:
    """The approaches that a choice means, in the order of the catalogue, and what was left out and why.

    A hard-prompt recipe gives one approach a fitting prompt, a tuned recipe one approach; the plain baselines are always added
    to a classification.
    """
    if not choice.templates:
        return (), ["Choose at least one prompt: it is what the written approaches run and what the tuned ones start from."]
    frame = choice.tuned_template or min(choice.templates, key=lambda t: (bool(t.first_step), bool(t.demonstrations)))
    approaches: list[ApproachPlan] = []
    notes: list[str] = []
    for kind in _chosen_kinds(choice):
        fitting = [frame] if kind.demonstrations is None else [t for t in choice.templates if bool(t.demonstrations) == kind.demonstrations]
        if not fitting:
            notes.append(_left_out(kind))
        options = choice.options.get(kind.key, {})
        if choice.backbone.is_hosted and kind.family == BASELINE and kind.method not in WITHOUT_MODEL:
            notes.append(f"{kind.name} is left out: it reads the model's inner states, which an endpoint does not give.")
            continue
        approaches += [
            ApproachPlan(kind.key, choice.backbone, template, options, start=choice.starts.get(kind.key), teacher=choice.teacher_of(kind))
            for template in fitting
        ]
        beside = [ApproachPlan(kind.key, model, template, options) for model in choice.endpoints for template in fitting]
        approaches += [plan for plan in beside if plan.backbone != choice.backbone and not endpoint_problems(plan)]
    return tuple(approaches), notes


def _chosen_kinds(choice: Choice) -> Iterator[RecipeKind]:
    keys = {recipe_get(key).key for key in choice.recipes}
    if choice.dataset_version.task == Task.CLASSIFICATION:
        keys |= set(BASELINES)
    return (kind for key, kind in CATALOGUE.items() if key in keys)


def _left_out(kind: RecipeKind) -> str:
    if kind.demonstrations:
        return f"{kind.name} is left out: none of the chosen prompts shows examples. Add examples to a prompt to compare it."
    return f"{kind.name} is left out: each of the chosen prompts shows examples. Choose a prompt without examples to compare it."

"""Which of the chosen prompts learning starts from when nobody says so, and why that one. Reads earlier scores; writes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.catalogue.configurations import num_configurations
from experiments.models import Backbone, DatasetVersion, Score, Split, TemplateVersion
from experiments.wording import quoted


@dataclass(frozen=True)
class StartPrompt:
    """A prompt that learning starts from, with the reason as the rest of a sentence; empty where there was no choice."""

    template: TemplateVersion
    reason: str = ""

    @property
    def sentence(self) -> str:
        return f"Learning starts from {quoted(str(self.template))}: {self.reason}" if self.reason else ""


def start_prompt(version: DatasetVersion, backbone: Backbone, templates: Sequence[TemplateVersion]) -> StartPrompt | None:
    """The chosen prompt that did best before on the same rows and model, else the one saved last.

    Prompts of one step come first, since learning takes only those, then prompts without examples, which every request would carry.
    """
    if not templates:
        return None
    plainest = min(_burden(template) for template in templates)
    fitting = sorted((each for each in templates if _burden(each) == plainest), key=lambda each: each.created_at, reverse=True)
    if len(fitting) == 1:
        return StartPrompt(fitting[0], "the other chosen prompts show examples or have a first step." if len(templates) > 1 else "")
    rates = validation_rates(version, backbone, fitting)
    if not rates:
        return StartPrompt(
            fitting[0], "none of the chosen prompts has been compared on this data with this model yet, and it was saved last."
        )
    best = max(fitting, key=lambda each: rates.get(each, -1.0))
    return StartPrompt(
        best, f"it was best in earlier comparisons on this data with this model ({rates[best]:.1%} of validation rows right)."
    )


def validation_rates(version: DatasetVersion, backbone: Backbone, templates: Sequence[TemplateVersion]) -> dict[TemplateVersion, float]:
    """{prompt: its best share of validation rows right as it is written}, of those that were compared before on this data and model.

    Test rows take part in no choice.
    """
    scores = Score.objects.filter(
        metric="accuracy",
        value__isnull=False,
        evaluation__dataset_version=version,
        evaluation__split=Split.VALIDATION,
        evaluation__run__approach__method="hard_prompt",
        evaluation__run__approach__backbone=backbone,
        evaluation__run__approach__template_version__in=templates,
    )
    approach = "evaluation__run__approach__"
    told = scores.order_by("value").values_list(f"{approach}template_version", "value", f"{approach}recipe")
    rates = {template: value for template, value, recipe in told if _is_as_written(recipe)}
    return {template: rates[template.pk] for template in templates if template.pk in rates}


def _is_as_written(recipe: Mapping[str, Any]) -> bool:
    """Whether it was neither reworded by a sweep nor helped by another way to choose the label."""
    return num_configurations(recipe) == 1 and recipe.get("score", "sum") == "sum"


def _burden(template: TemplateVersion) -> tuple[bool, bool]:
    return bool(template.first_step), bool(template.demonstrations)

"""First values of the comparison form: those of a comparison that is asked for again, or those that suit a prompt.

Reads; writes nothing. What the form does not offer (names given over the API) is left behind.
"""

from collections.abc import Iterator
from typing import Any

from experiments.catalogue.kinds import BASELINE, ENGINEERED, RecipeKind
from experiments.catalogue.step_sizes import usual_steps
from experiments.models import Approach, DatasetVersion, Experiment, TemplateVersion
from experiments.models.comparisons import Family
from experiments.reads.dial_lines import kind_of_approach
from experiments.reads.teaching import teacher_of
from experiments.services.prompts import columns_of

LONGEST_NAME = 120


def form_values(experiment: Experiment) -> dict[str, Any]:
    """First values of the comparison form, by field; those of free answers stand under "answers"."""
    approaches = list(experiment.approaches.select_related("template_version", "backbone", "experiment"))
    known = [(approach, kind) for approach in approaches if (kind := kind_of_approach(approach)) and kind.family != BASELINE]
    own = [pair for pair in known if pair[0].family != Family.HOSTED]
    return {
        "name": f"{experiment.name[: LONGEST_NAME - 7]}, again",
        "dataset_version": experiment.dataset_version_id,
        "templates": list(dict.fromkeys(approach.template_version_id for approach, kind in known if _shows_its_prompt(kind))),
        "backbone": next((approach.backbone_id for approach, _ in own), None),
        "endpoints": list(dict.fromkeys(approach.backbone_id for approach, _ in known if approach.family == Family.HOSTED)),
        "recipes": list(dict.fromkeys(kind.key for _, kind in known)),
        "tuned_template": next((approach.template_version_id for approach, kind in own if not _shows_its_prompt(kind)), None),
        "seeds": experiment.seeds,
        "configurations": experiment.configurations,
        # Without prices the form keeps its own first value, the newest: they may have been written down since.
        **({"price_book": experiment.price_book_id} if experiment.price_book_id else {}),
        "monthly_requests": experiment.monthly_requests,
        "margin": round(experiment.margin * 100, 6),
        "too_long": experiment.too_long,
        "truncate_column": experiment.truncate_column,
        "endpoint_requests": experiment.endpoint_requests,
        "endpoint_money": experiment.endpoint_money,
        "curve_when_finished": experiment.curve_when_finished or Experiment.objects.filter(curve_of=experiment).exists(),
        "open_test_when_finished": experiment.open_test_when_finished,
        "answers": _answers(experiment),
        **{name: value for approach, kind in own for name, value in _dials(approach, kind)},
    }


def prompt_values(prompt: TemplateVersion) -> dict[str, Any]:
    """First values of the form for one prompt: itself, and the data that it was written for."""
    version = _data_of(prompt)
    return {"templates": [prompt.pk], **({"dataset_version": version.pk} if version else {})}


def _data_of(prompt: TemplateVersion) -> DatasetVersion | None:
    """The newest version of a prompt's own data that can be compared on; without such data, of any that has its columns."""
    known = DatasetVersion.objects.complete().filter(dataset__workspace=prompt.template.workspace_id).order_by("-created_at")
    own = known.filter(dataset=prompt.template.dataset_id).first()
    return own or next((version for version in known if columns_of(prompt) <= set(version.columns)), None)


def _shows_its_prompt(kind: RecipeKind) -> bool:
    """Whether each chosen prompt makes an approach of this kind; every other kind begins with one of them."""
    return kind.family == ENGINEERED and kind.demonstrations is not None


def _dials(approach: Approach, kind: RecipeKind) -> Iterator[tuple[str, Any]]:
    """The settings that differ from their defaults, who taught it, and the tuned prompt that training started from."""
    asked, usual = approach.teaching | approach.recipe, usual_steps(approach.method, approach.model_facts)
    for option in kind.free_options:
        value = asked.get(option.name, option.default)
        # What all approaches were asked for stands in the form once.
        is_shared = option.name in ("configurations", "max_candidates") and value == approach.experiment.configurations > 1
        if value != usual.get(option.name, option.default) and not is_shared:
            yield f"{kind.key}-{option.name}", ", ".join(map(str, value)) if isinstance(value, list) else value
    if teacher := teacher_of(approach):
        yield f"{kind.key}-teacher", teacher.key
    if approach.start_artifact_id:
        yield f"{kind.key}-start-from", str(approach.start_artifact_id)


def _answers(experiment: Experiment) -> dict[str, Any]:
    rules = dict(experiment.generation)
    stop = rules.pop("stop", ["\n"])
    return {**rules, "one_line": "\n" in stop, "stop": "\n".join(text for text in stop if text != "\n")}

"""The catalogue of approaches that a comparison can hold, and how the settings of one are read.

Its dials stand in `dials`. Imports no model library and no Django.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from experiments.catalogue import dials
from experiments.catalogue.kinds import BASELINE, ENGINEERED, HYBRID, TUNED, OptionValue, RecipeKind, RecipeOption
from experiments.catalogue.step_sizes import usual_steps
from experiments.errors import UserError
from experiments.wording import listed, quoted

_KINDS = (
    RecipeKind(
        "zero_shot",
        "Zero-shot",
        ENGINEERED,
        "hard_prompt",
        "Each chosen prompt without examples, as it is written. Nothing is trained.",
        (dials.SCORE, dials.WORDINGS),
        demonstrations=False,
        preselected=True,
    ),
    RecipeKind(
        "few_shot",
        "Few-shot",
        ENGINEERED,
        "hard_prompt",
        "Each chosen prompt that shows examples. Nothing is trained, but every request carries the examples.",
        (dials.SCORE, dials.WORDINGS),
        demonstrations=True,
        preselected=True,
    ),
    RecipeKind(
        "few_shot_random",
        "Few-shot, random",
        ENGINEERED,
        "drawn_examples",
        "The written prompt with train rows drawn by chance as its examples.",
        dials.drawn("random"),
        needs_train=True,
    ),
    RecipeKind(
        "few_shot_balanced",
        "Few-shot, balanced",
        ENGINEERED,
        "drawn_examples",
        "The written prompt with as many drawn train rows of each label as its examples.",
        dials.drawn("balanced"),
        needs_train=True,
    ),
    RecipeKind(
        "few_shot_nearest",
        "Few-shot, nearest",
        ENGINEERED,
        "drawn_examples",
        "For every request the train rows most like it (retrieved demonstrations). Often the best examples, and the dearest.",
        dials.drawn("nearest"),
        needs_train=True,
    ),
    RecipeKind(
        "prior_corrected",
        "Prior-corrected",
        ENGINEERED,
        "hard_prompt",
        "The written prompt; no label wins by being common: what an empty row gets is taken off (contextual calibration).",
        (replace(dials.SCORE, default="prior_corrected", choices=dials.RULES[2:], fixed=True), dials.ONE_WORDING),
    ),
    RecipeKind(
        "label_bias",
        "Label bias",
        ENGINEERED,
        "label_bias",
        "The written prompt and one learned number a label. The least that can be learned.",
        dials.LABEL_BIAS,
        needs_train=True,
    ),
    RecipeKind(
        "prompt_search",
        "Prompt search",
        ENGINEERED,
        "prompt_search",
        "Tries other wordings, examples and answer words on validation rows. The winner becomes a new version of the prompt.",
        dials.SEARCH,
        needs_train=True,
    ),
    RecipeKind(
        "search_gepa",
        "GEPA search",
        ENGINEERED,
        "dspy_search",
        "The model reads its own wrong answers and rewords the instruction (GEPA through DSPy). The winner becomes a new version.",
        dials.dspy("gepa", "GEPA"),
        needs_train=True,
    ),
    RecipeKind(
        "search_miprov2",
        "MIPROv2 search",
        ENGINEERED,
        "dspy_search",
        "The model proposes instructions and sets of examples, and their combinations are tried (MIPROv2 through DSPy).",
        dials.dspy("miprov2", "MIPROv2"),
        needs_train=True,
    ),
    RecipeKind(
        "soft_prompt",
        "Soft prompt",
        TUNED,
        "prompt_tuning",
        "Learned tokens take the place of the text before the row (prompt tuning). What the prompt says behind the row stays.",
        (*dials.SOFT, dials.template_text("replaced")),
        preselected=True,
        needs_train=True,
    ),
    RecipeKind(
        "hybrid",
        "Hybrid",
        HYBRID,
        "prompt_tuning",
        "The written prompt stays and learned tokens are put in front of it.",
        (*dials.SOFT, dials.template_text("kept")),
        preselected=True,
        needs_train=True,
    ),
    RecipeKind(
        "lora",
        "LoRA",
        TUNED,
        "lora",
        "A small learned update of the model's weights in place of the text before the row. What the prompt says behind the row stays.",
        dials.lora("plain", "Alpha divided by the rank scales the update"),
        preselected=True,
        needs_train=True,
    ),
    RecipeKind(
        "template_lora",
        "Template + LoRA",
        HYBRID,
        "lora",
        "The whole written prompt stays, with its examples, and a small learned update of the model's weights reads it.",
        dials.lora("plain", "Alpha divided by the rank scales the update", template_text="kept"),
        needs_train=True,
    ),
    RecipeKind(
        "rslora",
        "rsLoRA",
        TUNED,
        "lora",
        "LoRA scaled by the root of its rank, so that a high rank learns as fast as a low one. Without the text before the row, as LoRA.",
        dials.lora("rslora", "Alpha divided by the root of the rank scales the update"),
        needs_train=True,
    ),
    RecipeKind(
        "dora",
        "DoRA",
        TUNED,
        "lora",
        "LoRA that learns length and direction apart: slower, often better at a low rank. Without the text before the row, as LoRA.",
        dials.lora("dora", "Length and direction of each column are learned apart"),
        needs_train=True,
    ),
    RecipeKind(
        "distilled",
        "Distilled soft prompt",
        HYBRID,
        "prompt_tuning",
        "Learned tokens take the place of a long prompt, a larger model or a hosted one, from whose answers to train or "
        "unlabelled rows they learn. The rows' own labels are not used.",
        (*dials.TEACHING, *dials.SOFT, dials.template_text("replaced")),
        needs_train=True,
        taught=True,
    ),
    RecipeKind(
        "prefix",
        "Prefix",
        TUNED,
        "prefix_tuning",
        "Learned keys and values in every layer take the place of the text before the row (prefix tuning).",
        dials.PREFIX,
        needs_train=True,
    ),
    RecipeKind(
        "p_tuning",
        "P-tuning",
        HYBRID,
        "p_tuning",
        "The written prompt stays; a small network writes the learned tokens in front of it.",
        dials.P_TUNING,
        needs_train=True,
    ),
    RecipeKind(
        "ia3",
        "IA3",
        TUNED,
        "ia3",
        "Learned scales inside the model: the smallest adapter, with the written prompt in front of the row.",
        dials.IA3,
        needs_train=True,
    ),
    RecipeKind(
        "cpt",
        "Context-aware prompt",
        TUNED,
        "cpt",
        "Learned tokens that start as the written prompt with examples and stay near it (CPT). Every request carries them all.",
        dials.CPT,
        needs_train=True,
    ),
    RecipeKind(
        "adapter_houlsby",
        "Adapter (Houlsby)",
        TUNED,
        "bottleneck",
        "Two small learned layers in every block of the model, with the written prompt in front of the row.",
        dials.adapter("houlsby", "After the attention and feed-forward parts of every block"),
        needs_train=True,
    ),
    RecipeKind(
        "adapter_pfeiffer",
        "Adapter (Pfeiffer)",
        TUNED,
        "bottleneck",
        "One small learned layer in every block: half the size of Houlsby's, with the written prompt in front of the row.",
        dials.adapter("pfeiffer", "After the feed-forward part of every block"),
        needs_train=True,
    ),
    RecipeKind(
        "full",
        "Full fine-tuning",
        TUNED,
        "full",
        "Every weight learns: what tuning can reach at most. Needs several times the model's memory and leaves a whole model.",
        dials.FULL,
        needs_train=True,
    ),
    RecipeKind(
        "majority",
        "Most frequent label",
        BASELINE,
        "majority",
        "Always answers the most frequent label of the train rows.",
        needs_train=True,
    ),
    RecipeKind(
        "label_overlap",
        "Words shared with the label",
        BASELINE,
        "label_overlap",
        "Answers the label whose words the row shares most.",
    ),
    RecipeKind(
        "tfidf_logreg",
        "TF-IDF + logistic regression",
        BASELINE,
        "tfidf_logreg",
        "A classical text classifier without a language model.",
        needs_train=True,
    ),
    RecipeKind(
        "linear_probe",
        "Linear probe",
        BASELINE,
        "linear_probe",
        "A linear classifier on what the frozen model makes of the row.",
        needs_train=True,
    ),
)
CATALOGUE: dict[str, RecipeKind] = {kind.key: kind for kind in _KINDS}
BASELINES = tuple(kind.key for kind in _KINDS if kind.family == BASELINE)
PACK = tuple(kind.key for kind in _KINDS if kind.preselected)


def recipe_get(key: str) -> RecipeKind:
    """The line of the catalogue under `key`.

    Raises:
        UserError: there is none.
    """
    if key not in CATALOGUE:
        raise UserError(f"There is no approach {quoted(key)}. Choose from {listed(CATALOGUE, most=20)}.")
    return CATALOGUE[key]


def recipe_options(key: str, given: Mapping[str, Any], facts: Mapping[str, Any] = MappingProxyType({})) -> dict[str, OptionValue]:
    """All options of an approach with every default written out, the given ones checked.

    Args:
        facts: of its model; where no learning rate is given, it goes by them, and so does an optimiser that is left at its default.
    Raises:
        UserError: an option is unknown, fixed, of the wrong kind or out of range; the sentence names the approach and the range.
    """
    kind = recipe_get(key)
    known = {option.name: option for option in kind.options}
    for name in given:
        if name not in known:
            raise UserError(f"{kind.name} has no option {quoted(name)}. Its options: {listed(known, most=40) or 'none'}.")
    if given.get("learning_rate") in (None, ""):
        usual = usual_steps(kind.method, facts)
        given = {**given, **{name: value for name, value in usual.items() if given.get(name) in (None, "", known[name].default)}}
    return {name: _read(kind, option, given.get(name, option.default)) for name, option in known.items()}


def kind_of(method: str, recipe: Mapping[str, Any], *, shows_examples: bool = False) -> RecipeKind | None:
    """The line of the catalogue that a stored approach was made from; where several fit, one that has all its dials, most of them fixed.

    Args:
        shows_examples: whether its prompt shows examples, which tells few-shot from zero-shot.
    """
    fitting = [kind for kind in CATALOGUE.values() if kind.method == method and kind.demonstrations in (None, shows_examples)]
    fitting = [kind for kind in fitting if all(recipe.get(option.name) == option.default for option in _fixed(kind))]
    return max(fitting, key=lambda kind: (set(recipe) <= {option.name for option in kind.options}, len(_fixed(kind))), default=None)


def split_teaching(options: Mapping[str, OptionValue]) -> tuple[dict[str, OptionValue], dict[str, OptionValue]]:
    """Written-out options as the method's own, and what is learned from a teacher; the latter is empty where the recipe has no teacher."""
    names = {option.name for option in dials.TEACHING}
    return {k: v for k, v in options.items() if k not in names}, {k: v for k, v in options.items() if k in names}


def teaching_defaults() -> dict[str, OptionValue]:
    """What is learned from a teacher when a recipe without dials for it gets one."""
    return {option.name: option.default for option in dials.TEACHING}


def _fixed(kind: RecipeKind) -> list[RecipeOption]:
    return [option for option in kind.options if option.fixed]


def _read(kind: RecipeKind, option: RecipeOption, value: Any) -> OptionValue:
    if value is None or (value == "" and not isinstance(option.default, str)):
        return option.default
    if option.choices:
        return _choice(kind, option, value)
    if option.default is None:
        return _names(value)
    if isinstance(option.default, str):
        return str(value)[:2000]
    return _number(kind, option, value)


def _choice(kind: RecipeKind, option: RecipeOption, value: Any) -> str:
    words = [word for word, _ in option.choices]
    if value not in words:
        raise UserError(f"{kind.name}: {option.label.lower()} is {quoted(str(value))}; it must be one of {listed(words)}.")
    return str(value)


def _names(value: Any) -> list[str] | None:
    parts: Iterable[Any] = value.split(",") if isinstance(value, str) else value
    return [name for name in (str(part).strip() for part in parts) if name] or None


def _number(kind: RecipeKind, option: RecipeOption, value: Any) -> int | float:
    whole = isinstance(option.default, int)
    try:
        number = float(value)
        fits = number == int(number) if whole else True
    except (TypeError, ValueError, OverflowError):
        number, fits = 0.0, False
    low, high = option.low or 0.0, option.high or float("inf")
    if isinstance(value, bool) or not fits or not low <= number <= high:
        sort = "a whole number" if whole else "a number"
        raise UserError(f"{kind.name}: {option.label.lower()} is {quoted(str(value))}; it must be {sort} from {option.range_text}.")
    return int(number) if whole else number

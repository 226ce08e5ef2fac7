"""Every method the engine knows, with its options, defaults, ranges and units, in one table. Standard library only.

Forms, help texts and the README read this table; `methods` and `training` read the resolved values.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from workers.engine.errors import BadSpec

OptionValue: TypeAlias = int | float | str | bool | list[str] | None

# Unit of a step size that is a multiple of the typical embedding coordinate: one value then fits models of every scale.
EMBEDDING_RMS = "x embedding RMS"


@dataclass(frozen=True)
class Option:
    """One dial of a method.

    Args:
        default: value when the recipe does not say.
        help: one sentence for the person who sets it.
        low, high: inclusive range of a number.
        choices: allowed words of a text option.
        unit: unit of a number, empty when it is a plain count.
    """

    default: OptionValue
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""


@dataclass(frozen=True)
class Method:
    """One way to make an approach.

    Args:
        peft_type: PEFT's name of the method; empty for methods that train nothing and for those that PEFT lacks.
        needs_train: it learns from train rows.
        replaces_weights: the backbone's own weights are changed, so its host must not be used again.
    """

    family: str
    title: str
    options: Mapping[str, Option] = field(default_factory=dict)
    peft_type: str = ""
    needs_train: bool = False
    replaces_weights: bool = False


CONFIGURATIONS = Option(
    1, "Settings that are tried; the one that does best on validation rows is kept. 1 tries none but what is set.", 1, 64
)


def _training(learning_rate: Option) -> dict[str, Option]:
    return {
        "learning_rate": learning_rate,
        "max_steps": Option(250, "Steps of training; each sees batch_size rows.", 1, 1_000_000, unit="steps"),
        "batch_size": Option(16, "Rows whose gradients make one step.", 1, 4096, unit="rows"),
        "micro_batch_size": Option(0, "Rows held in memory at once; 0 takes the whole batch.", 0, 4096, unit="rows"),
        "warmup_steps": Option(20, "Steps over which the learning rate rises to its value.", 0, 100_000, unit="steps"),
        "schedule": Option("linear", "How the learning rate falls after warm-up.", choices=("linear", "constant")),
        "weight_decay": Option(0.0, "AdamW's pull towards zero.", 0.0, 1.0),
        "clip_norm": Option(1.0, "Longest gradient that is used as it is; 0 never shortens.", 0.0, 1000.0),
        "evaluate_every": Option(50, "Steps between two looks at the validation rows.", 1, 1_000_000, unit="steps"),
        "patience": Option(4, "Looks without a better result before stopping; 0 never stops early.", 0, 10_000),
        "validation_rows": Option(512, "Rows used at each look; the choice is made on them.", 1, 1_000_000, unit="rows"),
        "chosen_on": Option(
            "validation",
            "Rows that choose the step: the validation file's, or an inner split of the train rows, which then teach nothing.",
            choices=("validation", "inner"),
        ),
        "inner_share": Option(
            0.1, "Share of train rows set aside to choose the step, where they do or no validation file is given.", 0.01, 0.5
        ),
        "configurations": CONFIGURATIONS,
        "varied": Option(
            "rate",
            "What differs between them: the step size, or starts and widths too; when all are used up, other seeds.",
            choices=("rate", "all"),
        ),
        "rounds": Option(
            "halved",
            "'halved' lets only the better third go on, with three times the steps; 'whole' trains each to its end.",
            choices=("halved", "whole"),
        ),
    }


def _relative_rate(default: float) -> Option:
    return Option(default, "Step size as a multiple of the typical embedding coordinate.", 1e-5, 10.0, unit=EMBEDDING_RMS)


_OPTIMIZER = Option(
    "adamw",
    "'adafactor' is how T5's soft prompts were trained, for T5 only: learning_rate is then the step itself, 0.3 in the paper.",
    choices=("adamw", "adafactor"),
)
# Families whose published soft prompts were trained with Adafactor. Source: Lester et al. 2021.
ADAFACTOR_FAMILIES = ("t5", "mt5")
_SMALL_MODEL = 100_000_000
# Step sizes worth trying on small models and on larger ones; other methods try a third and the triple of their default on both.
_RATES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "prompt_tuning": ((0.15, 0.5, 1.5), (0.02, 0.05, 0.15)),
    "prefix_tuning": ((1.5e-2, 5e-2, 0.15), (1.5e-3, 5e-3, 1.5e-2)),
    "cpt": ((0.02, 0.05, 0.15), (0.02, 0.05, 0.15)),
    "ia3": ((1.5e-2, 5e-2, 0.15), (1.5e-3, 5e-3, 1.5e-2)),
    "bottleneck": ((3e-3, 1e-2, 3e-2), (3e-4, 1e-3, 3e-3)),
    "lora": ((5e-4, 2e-3, 5e-3), (1e-4, 2e-4, 5e-4)),
    "full": ((3e-5, 1e-4, 3e-4), (5e-6, 2e-5, 5e-5)),
}
_PROMPT = {
    "num_virtual_tokens": Option(
        20, "Learned vectors in front of the row; 0 takes as many as the start text has tokens.", 0, 2000, unit="tokens"
    ),
    "init": Option(
        "template",
        "What the vectors start from.",
        choices=("template", "label_words", "vocabulary", "random"),
    ),
    "init_text": Option("", "Text to start from with init 'template'; empty takes the prompt's text before the row."),
    "template_text": Option(
        "kept",
        "Whether the prompt's text before the row stays ('kept', a hybrid) or the vectors stand in its place ('replaced').",
        choices=("kept", "replaced"),
    ),
}
_KEPT = {"template_text": Option("kept", "The written prompt stays in front of the row.", choices=("kept",))}

_SCORE = Option(
    "sum",
    "What a label is chosen by: the summed log-likelihood of its words, their mean per token, or the sum less what the prompt says "
    "about an empty row.",
    choices=("sum", "mean", "prior_corrected"),
)
_DRAW_SEED = Option(0, "Seed of every draw from the train rows.", 0, 2**31 - 1)

METHODS: dict[str, Method] = {
    "hard_prompt": Method("prompt", "Hard prompt", {"score": _SCORE, "configurations": CONFIGURATIONS}),
    "drawn_examples": Method(
        "prompt",
        "Prompt with drawn examples",
        {
            "policy": Option(
                "balanced",
                "Which train rows stand in the prompt: a seeded draw, the same number of each label, or for every row its nearest ones "
                "by the backbone's own embeddings.",
                choices=("random", "balanced", "nearest"),
            ),
            "num_examples": Option(8, "Train rows shown in the prompt.", 1, 64, unit="rows"),
            "draw_seed": _DRAW_SEED,
            "configurations": CONFIGURATIONS,
        },
        needs_train=True,
    ),
    "label_bias": Method(
        "prompt",
        "Prompt with a label bias",
        {
            "train_rows": Option(512, "Train rows that are scored to fit one number a label.", 2, 100_000, unit="rows"),
            "penalty": Option(0.01, "Pull of the numbers towards zero.", 1e-4, 100.0),
            "draw_seed": _DRAW_SEED,
        },
        needs_train=True,
    ),
    "prompt_search": Method(
        "prompt",
        "Prompt search",
        {
            "budget": Option(
                4096, "Evaluations the search may spend; one is one prompt on one validation row.", 64, 10_000_000, unit="evaluations"
            ),
            "max_candidates": Option(64, "Most prompts that are tried.", 2, 2000, unit="prompts"),
            "num_examples": Option(8, "Train rows in the larger sets of examples that are tried; 0 tries none.", 0, 64, unit="rows"),
            "draw_seed": _DRAW_SEED,
        },
        needs_train=True,
    ),
    "dspy_search": Method(
        "prompt",
        "Prompt search by DSPy",
        {
            "optimizer": Option(
                "gepa",
                "'gepa' lets the model reflect on wrong answers and reword the instruction; 'miprov2' proposes instructions and sets of "
                "examples and tries their combinations.",
                choices=("gepa", "miprov2"),
            ),
            "budget": Option(1000, "Evaluations the search may spend; one is one prompt on one row.", 64, 1_000_000, unit="evaluations"),
            "num_examples": Option(2, "Most train rows in the sets of examples that MIPROv2 tries; GEPA tries none.", 0, 4, unit="rows"),
            "draw_seed": _DRAW_SEED,
        },
        needs_train=True,
    ),
    "prompt_tuning": Method(
        "tuned", "Soft prompt", _training(_relative_rate(0.5)) | {"optimizer": _OPTIMIZER} | _PROMPT, "PROMPT_TUNING", needs_train=True
    ),
    "p_tuning": Method(
        "tuned",
        "P-tuning",
        _training(Option(1e-3, "Step size.", 1e-7, 1.0))
        | {
            "num_virtual_tokens": Option(20, "Learned vectors in front of the row.", 1, 2000, unit="tokens"),
            "template_text": _PROMPT["template_text"],
            "encoder_hidden_size": Option(128, "Width of the network that writes the vectors.", 8, 8192),
        },
        "P_TUNING",
        needs_train=True,
    ),
    "prefix_tuning": Method(
        "tuned",
        "Prefix tuning",
        _training(Option(5e-2, "Step size.", 1e-7, 1.0))
        | {
            "num_virtual_tokens": _PROMPT["num_virtual_tokens"],
            "template_text": _PROMPT["template_text"],
            "init": Option(
                "template", "What the keys and values start from.", choices=("template", "label_words", "vocabulary", "random", "zero")
            ),
            "init_text": _PROMPT["init_text"],
        },
        "PREFIX_TUNING",
        needs_train=True,
    ),
    "cpt": Method(
        "tuned",
        "Context-aware prompt tuning",
        _training(_relative_rate(0.05))
        | {
            "template_text": Option("replaced", "The vectors start as the prompt with its examples.", choices=("replaced",)),
            "context_examples": Option(
                8, "Train rows shown in the prompt that the vectors start from, when it shows none itself.", 0, 200, unit="rows"
            ),
            "largest_change": Option(
                0.2, "How far a vector may move from its start, as a share of the typical embedding's length.", 1e-6, 100.0
            ),
            "loss_decay": Option(0.95, "Weight of an example's answer in the loss; the one before it weighs this much less.", 0.0, 1.0),
        },
        "CPT",
        needs_train=True,
    ),
    "lora": Method(
        "tuned",
        "LoRA",
        _training(Option(2e-3, "Step size.", 1e-7, 1.0))
        | {
            "template_text": Option(
                "kept",
                "Whether the prompt's text before the row stays ('kept', a hybrid) or the update alone has to say it ('replaced').",
                choices=("kept", "replaced"),
            ),
            "variant": Option(
                "plain",
                "'rslora' divides alpha by the root of the rank; 'dora' learns each column's length apart from its direction.",
                choices=("plain", "rslora", "dora"),
            ),
            "rank": Option(8, "Width of the learned update of each weight matrix.", 1, 512),
            "alpha": Option(16.0, "Scale of the update; alpha / rank multiplies it (alpha / root of rank for rsLoRA).", 0.01, 4096.0),
            "dropout": Option(0.0, "Share of inputs of the update that training drops.", 0.0, 0.9),
            "target_modules": Option(None, "Names of the weight matrices to adapt; empty takes all in the blocks."),
        },
        "LORA",
        needs_train=True,
    ),
    "ia3": Method(
        "tuned",
        "IA3",
        _training(Option(5e-2, "Step size.", 1e-7, 1.0)) | _KEPT,
        "IA3",
        needs_train=True,
    ),
    "bottleneck": Method(
        "tuned",
        "Bottleneck adapter",
        _training(Option(1e-2, "Step size.", 1e-7, 1.0))
        | _KEPT
        | {
            "placement": Option(
                "houlsby",
                "After the attention and feed-forward parts of every block ('houlsby'), or after the feed-forward part alone ('pfeiffer').",
                choices=("houlsby", "pfeiffer"),
            ),
            "width": Option(32, "Inner width of an adapter.", 1, 4096),
            "activation": Option("gelu", "The bend between an adapter's two matrices.", choices=("gelu", "relu", "silu")),
        },
        needs_train=True,
    ),
    "full": Method(
        "tuned",
        "Full fine-tuning",
        _training(Option(1e-4, "Step size.", 1e-7, 1.0)) | _KEPT,
        needs_train=True,
        replaces_weights=True,
    ),
    "majority": Method("baseline", "Most frequent label", needs_train=True),
    "label_overlap": Method("baseline", "Words shared with the label"),
    "tfidf_logreg": Method("baseline", "TF-IDF and logistic regression", needs_train=True),
    "linear_probe": Method("baseline", "Linear probe on the backbone", needs_train=True),
}


# Methods whose learned part stands in front of the row, where it can take the place of text.
IN_FRONT = ("prompt_tuning", "p_tuning", "prefix_tuning", "cpt")
# Methods whose saved part is one vector a token, so that a soft prompt can start from any of them.
VECTOR_METHODS = ("prompt_tuning", "p_tuning", "cpt")


def may_start_from(method: str) -> tuple[str, ...]:
    """Methods whose tuned parts can be the start of this one's training."""
    return VECTOR_METHODS if method == "prompt_tuning" else (method,)


def rate_grid(method: str, parameters: int, family: str = "") -> tuple[dict[str, OptionValue], ...]:
    """Step sizes worth trying for a tuned method, as options of its recipe, the smallest first.

    Args:
        parameters: weights of the backbone; small ones bear larger steps.
        family: the backbone's; T5's soft prompts have an optimiser of their own.
    """
    if method == "prompt_tuning" and family in ADAFACTOR_FAMILIES:
        return ({"learning_rate": 0.3, "optimizer": "adafactor", "schedule": "constant"},)
    usual = float(METHODS[method].options["learning_rate"].default)  # type: ignore[arg-type]
    thirds = (usual / 3, usual, usual * 3)
    rates = _RATES.get(method, (thirds, thirds))[parameters >= _SMALL_MODEL]
    return tuple({"learning_rate": rate} for rate in rates)


def resolve_options(method: str, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """All options of a method, the given ones checked.

    Args:
        method: a key of `METHODS`.
        given: options of a recipe.
    Returns:
        Every option of the method with its value.
    Raises:
        BadSpec: an option is unknown, of the wrong kind, or out of range.
    """
    table = METHODS[method].options
    unknown = sorted(set(given) - set(table))
    if unknown:
        known = ", ".join(sorted(table)) or "none"
        raise BadSpec(f"The method {method} has no option {unknown[0]!r}. Its options: {known}.")
    values = {name: option.default for name, option in table.items()} | dict(given)
    for name, option in table.items():
        _check(name, option, values[name])
    return values


def _check(name: str, option: Option, value: OptionValue) -> None:
    if option.choices:
        if value not in option.choices:
            raise BadSpec(f"{name} is {value!r}; it must be one of: {', '.join(option.choices)}.")
        return
    if option.default is None:
        _check_names(name, value)
    if isinstance(option.default, bool) or not isinstance(option.default, int | float):
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or (isinstance(option.default, int) and value != int(value)):  # type: ignore[arg-type]
        kind = "a whole number" if isinstance(option.default, int) else "a number"
        raise BadSpec(f"{name} is {value!r}; it must be {kind}.")
    if option.low is not None and option.high is not None and not option.low <= float(value) <= option.high:  # type: ignore[arg-type]
        raise BadSpec(f"{name} is {value}; it must lie between {option.low:g} and {option.high:g} {option.unit}".rstrip() + ".")


def _check_names(name: str, value: OptionValue) -> None:
    """An option without a default is a list of names that may be left out."""
    if value is not None and not (isinstance(value, list) and all(isinstance(each, str) and each for each in value)):
        raise BadSpec(f"{name} is {value!r}; it must be a list of names, or be left out.")

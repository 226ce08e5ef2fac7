"""The catalogue of approaches that a comparison can hold: names, families, dials with defaults, ranges and help.

Knows the engine's option names as plain text (tests/architecture compares both tables); imports no model library and no Django.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from experiments.errors import UserError
from experiments.wording import listed, quoted

OptionValue: TypeAlias = int | float | str | list[str] | None

ENGINEERED, TUNED, HYBRID, BASELINE = "engineered", "tuned", "hybrid", "baseline"
FULL = "full"


def hue_of(family: str, method: str) -> str:
    """The name of the colour an approach is drawn in: its family's; full fine-tuning is a reference and as grey as the baselines."""
    return FULL if method == FULL else family


@dataclass(frozen=True)
class RecipeOption:
    """One dial of an approach.

    Args:
        name: the engine's name.
        label: the name on the page.
        default: value when nobody sets it; its type decides how input is read. None stands for an optional list of names.
        help: one sentence for the person who sets it.
        low, high: inclusive range of a number.
        choices: (engine's word, word on the page) of a choice.
        fixed: the approach is what it is because of this value, so that no form offers it.
        shapes: it decides how large the learned part is, so that a start from another one must have the same value.
    """

    name: str
    label: str
    default: OptionValue
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    fixed: bool = False
    shapes: bool = False

    @property
    def range_text(self) -> str:
        """The allowed range with its unit, such as "1 to 2,000 tokens"; empty when there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.low:,g} to {self.high:,.10g} {self.unit}".strip()


@dataclass(frozen=True)
class RecipeKind:
    """One line of the catalogue.

    Args:
        key: stable name in forms and in the API.
        method: the engine's method.
        demonstrations: True needs a prompt with examples, False one without, None takes either.
    """

    key: str
    name: str
    family: str
    method: str
    help: str
    options: tuple[RecipeOption, ...] = ()
    demonstrations: bool | None = None
    preselected: bool = False
    needs_train: bool = False

    @property
    def is_tuned(self) -> bool:
        return self.family in (TUNED, HYBRID)

    @property
    def hue(self) -> str:
        return hue_of(self.family, self.method)

    def default_of(self, name: str) -> OptionValue:
        """Default of a dial; None when the approach has no such dial."""
        return next((option.default for option in self.options if option.name == name), None)

    @property
    def free_options(self) -> tuple[RecipeOption, ...]:
        """The dials that a form offers."""
        return tuple(option for option in self.options if not option.fixed)


def _learning_rate(default: float, *, relative: bool = False) -> RecipeOption:
    if relative:
        text = "Size of a step, as a multiple of the typical coordinate of the model's embeddings. Worth trying: 0.02, 0.05, 0.15."
        return RecipeOption("learning_rate", "Learning rate", default, text, 1e-5, 10.0, unit="× embedding size")
    return RecipeOption("learning_rate", "Learning rate", default, "Size of a training step.", 1e-7, 1.0)


_TRAINING = (
    RecipeOption("max_steps", "Steps", 250, "Most training steps; each sees one batch of rows.", 1, 1_000_000, unit="steps"),
    RecipeOption("batch_size", "Batch", 16, "Train rows that make one step.", 1, 4096, unit="rows"),
    RecipeOption("micro_batch_size", "Rows in memory", 0, "Rows held in memory at once; 0 takes the whole batch.", 0, 4096, unit="rows"),
    RecipeOption("warmup_steps", "Warm-up", 20, "Steps over which the learning rate rises to its value.", 0, 100_000, unit="steps"),
    RecipeOption(
        "schedule",
        "After warm-up",
        "linear",
        "How the learning rate goes on after warm-up.",
        choices=(("linear", "falls to zero in a line"), ("constant", "stays as it is")),
    ),
    RecipeOption("weight_decay", "Weight decay", 0.0, "Pull of the learned values towards zero.", 0.0, 1.0),
    RecipeOption("clip_norm", "Gradient limit", 1.0, "Longest gradient that is used as it is; 0 never shortens one.", 0.0, 1000.0),
    RecipeOption("evaluate_every", "Look every", 50, "Steps between two looks at the validation rows.", 1, 1_000_000, unit="steps"),
    RecipeOption("patience", "Patience", 4, "Looks without a better result before it stops early; 0 never does.", 0, 10_000, unit="looks"),
    RecipeOption(
        "validation_rows", "Rows per look", 512, "Validation rows of each look; the best step is chosen on them.", 1, 1_000_000, unit="rows"
    ),
    RecipeOption("inner_share", "Inner share", 0.1, "Share of train rows set aside when no validation rows are given.", 0.01, 0.5),
)
_VIRTUAL_TOKENS = RecipeOption(
    "num_virtual_tokens",
    "Learned tokens",
    20,
    "Learned vectors in front of the row; they take room in it. 0 takes as many as the text has that they start from.",
    0,
    2000,
    unit="tokens",
    shapes=True,
)
_STARTS = (
    ("template", "the written prompt"),
    ("label_words", "the answer words"),
    ("vocabulary", "words drawn from the vocabulary"),
    ("random", "random numbers"),
)
_INIT = RecipeOption("init", "Start from", "template", "What the learned tokens are before training.", choices=_STARTS)
_PREFIX_INIT = RecipeOption(
    "init", "Start from", "template", "What the learned keys and values are before training.", choices=(*_STARTS, ("zero", "zeros"))
)
_INIT_TEXT = RecipeOption("init_text", "Start text", "", "Text to start from in place of the written prompt; empty takes the prompt.")


def _fixed(name: str, label: str, value: str, words: str, *, shapes: bool = False) -> RecipeOption:
    """A dial that makes the approach what it is."""
    return RecipeOption(name, label, value, f"{words}.", choices=((value, words),), fixed=True, shapes=shapes)


def _template_text(value: str) -> RecipeOption:
    words = {"kept": "stays in front of the row", "replaced": "is replaced by the learned tokens"}
    return _fixed("template_text", "Written prompt", value, f"The written prompt {words[value]}")


_OPTIMIZER = RecipeOption(
    "optimizer",
    "Optimiser",
    "adamw",
    "Adafactor is how T5's soft prompts were trained, and for T5 only: the learning rate is then the step itself, 0.3 in the paper.",
    choices=(("adamw", "AdamW"), ("adafactor", "Adafactor, for T5")),
)
_SOFT = (_learning_rate(0.05, relative=True), *_TRAINING, _OPTIMIZER, _VIRTUAL_TOKENS, _INIT, _INIT_TEXT)
_P_TUNING = (
    _learning_rate(1e-3),
    *_TRAINING,
    _VIRTUAL_TOKENS,
    RecipeOption(
        "encoder_hidden_size", "Network width", 128, "Width of the small network that writes the learned tokens.", 8, 8192, shapes=True
    ),
    _template_text("kept"),
)
_PREFIX = (_learning_rate(5e-3), *_TRAINING, _VIRTUAL_TOKENS, _PREFIX_INIT, _INIT_TEXT, _template_text("replaced"))
_IA3 = (_learning_rate(5e-3), *_TRAINING, _template_text("kept"))
_LORA = (
    _learning_rate(2e-3),
    *_TRAINING,
    _template_text("kept"),
    RecipeOption("rank", "Rank", 8, "Width of the learned update of each weight matrix.", 1, 512, shapes=True),
    RecipeOption("alpha", "Alpha", 16.0, "Scale of the update; alpha divided by rank (rsLoRA: by its root) multiplies it.", 0.0, 4096.0),
    RecipeOption("dropout", "Dropout", 0.0, "Share of the update's inputs that training leaves out.", 0.0, 0.9),
    RecipeOption(
        "target_modules", "Matrices", None, "Weight matrices to adapt, comma-separated; empty takes all in the blocks.", shapes=True
    ),
)

_RULES = (
    ("sum", "the probability of its words"),
    ("mean", "the mean over its tokens"),
    ("prior_corrected", "the probability less what an empty row gets"),
)
_SCORE = RecipeOption(
    "score", "Label chosen by", "sum", "What the labels are compared by; the other ways are recorded too.", choices=_RULES
)
_POLICIES = (("random", "drawn by chance"), ("balanced", "the same number of each label"), ("nearest", "nearest to each row"))
_DRAW_SEED = RecipeOption("draw_seed", "Seed of the draw", 0, "The same seed draws the same train rows.", 0, 2**31 - 1)
_NUM_EXAMPLES = RecipeOption("num_examples", "Examples", 8, "Train rows shown in the prompt.", 1, 64, unit="rows")


def _drawn(policy: str) -> tuple[RecipeOption, ...]:
    choices = tuple(choice for choice in _POLICIES if choice[0] == policy)
    return (
        RecipeOption("policy", "Examples are", policy, "How the examples are chosen among the train rows.", choices=choices, fixed=True),
        _NUM_EXAMPLES,
        _DRAW_SEED,
    )


_LABEL_BIAS = (
    RecipeOption("train_rows", "Rows to fit on", 512, "Train rows that are scored to fit one number a label.", 2, 100_000, unit="rows"),
    RecipeOption("penalty", "Pull to zero", 0.01, "Keeps the numbers small where few rows tell.", 1e-4, 100.0),
    _DRAW_SEED,
)


def _lora(variant: str, words: str) -> tuple[RecipeOption, ...]:
    return (*_LORA, _fixed("variant", "Variant", variant, words, shapes=True))


def _adapter(placement: str, words: str) -> tuple[RecipeOption, ...]:
    return (
        _learning_rate(1e-3),
        *_TRAINING,
        _template_text("kept"),
        _fixed("placement", "Place", placement, words, shapes=True),
        RecipeOption("width", "Width", 32, "Inner width of an adapter.", 1, 4096, shapes=True),
        RecipeOption(
            "activation",
            "Bend",
            "gelu",
            "The curve between an adapter's two matrices.",
            choices=(("gelu", "GELU"), ("relu", "ReLU"), ("silu", "SiLU")),
        ),
    )


_CPT = (
    _learning_rate(0.05, relative=True),
    *_TRAINING,
    _template_text("replaced"),
    RecipeOption(
        "context_examples",
        "Examples",
        8,
        "Train rows shown in the prompt that the learned tokens start from, when it shows none itself.",
        0,
        200,
        unit="rows",
    ),
    RecipeOption(
        "largest_change",
        "Largest change",
        0.2,
        "How far a learned token may move from its start, as a share of the typical length of the model's embeddings.",
        1e-6,
        100.0,
    ),
    RecipeOption(
        "loss_decay", "Decay", 0.95, "Weight of an example's answer in the loss; the example before it weighs this much less.", 0.0, 1.0
    ),
)
_FULL = (_learning_rate(1e-4), *_TRAINING, _template_text("kept"))
_SEARCH = (
    RecipeOption(
        "budget",
        "Budget",
        4096,
        "Evaluations that the search may spend; one is one prompt on one validation row.",
        64,
        10_000_000,
        unit="evaluations",
    ),
    RecipeOption("max_candidates", "Prompts", 64, "Most prompts that are tried.", 2, 2000, unit="prompts"),
    RecipeOption(
        "num_examples",
        "Examples",
        8,
        "Train rows in the larger sets of examples that are tried, half as many in the smaller; 0 tries none.",
        0,
        64,
        unit="rows",
    ),
    _DRAW_SEED,
)

_KINDS = (
    RecipeKind(
        "zero_shot",
        "Zero-shot",
        ENGINEERED,
        "hard_prompt",
        "Each chosen prompt without examples, as it is written. Nothing is trained.",
        (_SCORE,),
        demonstrations=False,
        preselected=True,
    ),
    RecipeKind(
        "few_shot",
        "Few-shot",
        ENGINEERED,
        "hard_prompt",
        "Each chosen prompt that shows examples. Nothing is trained, but every request carries the examples.",
        (_SCORE,),
        demonstrations=True,
        preselected=True,
    ),
    RecipeKind(
        "few_shot_random",
        "Few-shot, random",
        ENGINEERED,
        "drawn_examples",
        "The written prompt with train rows drawn by chance as its examples.",
        _drawn("random"),
        needs_train=True,
    ),
    RecipeKind(
        "few_shot_balanced",
        "Few-shot, balanced",
        ENGINEERED,
        "drawn_examples",
        "The written prompt with as many drawn train rows of each label as its examples.",
        _drawn("balanced"),
        needs_train=True,
    ),
    RecipeKind(
        "few_shot_nearest",
        "Few-shot, nearest",
        ENGINEERED,
        "drawn_examples",
        "For every request the train rows most like it. Often the best examples, and the dearest.",
        _drawn("nearest"),
        needs_train=True,
    ),
    RecipeKind(
        "prior_corrected",
        "Prior-corrected",
        ENGINEERED,
        "hard_prompt",
        "The written prompt; no label wins by being common: what an empty row gets is taken off.",
        (replace(_SCORE, default="prior_corrected", choices=_RULES[2:], fixed=True),),
    ),
    RecipeKind(
        "label_bias",
        "Label bias",
        ENGINEERED,
        "label_bias",
        "The written prompt and one learned number a label. The least that can be learned.",
        _LABEL_BIAS,
        needs_train=True,
    ),
    RecipeKind(
        "prompt_search",
        "Prompt search",
        ENGINEERED,
        "prompt_search",
        "Tries other wordings, examples and answer words on validation rows. The winner becomes a new version of the prompt.",
        _SEARCH,
        needs_train=True,
    ),
    RecipeKind(
        "soft_prompt",
        "Soft prompt",
        TUNED,
        "prompt_tuning",
        "Learned tokens take the place of the written prompt (prompt tuning).",
        (*_SOFT, _template_text("replaced")),
        preselected=True,
        needs_train=True,
    ),
    RecipeKind(
        "hybrid",
        "Hybrid",
        HYBRID,
        "prompt_tuning",
        "The written prompt stays and learned tokens are put in front of it.",
        (*_SOFT, _template_text("kept")),
        preselected=True,
        needs_train=True,
    ),
    RecipeKind(
        "lora",
        "LoRA",
        TUNED,
        "lora",
        "A small learned update of the model's weights, with the written prompt in front of the row.",
        _lora("plain", "Alpha divided by the rank scales the update"),
        preselected=True,
        needs_train=True,
    ),
    RecipeKind(
        "rslora",
        "rsLoRA",
        TUNED,
        "lora",
        "LoRA scaled by the root of its rank, so that a high rank learns as fast as a low one.",
        _lora("rslora", "Alpha divided by the root of the rank scales the update"),
        needs_train=True,
    ),
    RecipeKind(
        "dora",
        "DoRA",
        TUNED,
        "lora",
        "LoRA that learns length and direction apart. Slower than LoRA, often better at a low rank.",
        _lora("dora", "Length and direction of each column are learned apart"),
        needs_train=True,
    ),
    RecipeKind(
        "prefix",
        "Prefix",
        TUNED,
        "prefix_tuning",
        "Learned keys and values in every layer take the place of the written prompt (prefix tuning).",
        _PREFIX,
        needs_train=True,
    ),
    RecipeKind(
        "p_tuning",
        "P-tuning",
        HYBRID,
        "p_tuning",
        "The written prompt stays; a small network writes the learned tokens in front of it.",
        _P_TUNING,
        needs_train=True,
    ),
    RecipeKind(
        "ia3",
        "IA3",
        TUNED,
        "ia3",
        "Learned scales inside the model: the smallest adapter, with the written prompt in front of the row.",
        _IA3,
        needs_train=True,
    ),
    RecipeKind(
        "cpt",
        "Context-aware prompt",
        TUNED,
        "cpt",
        "Learned tokens that start as the written prompt with examples and stay near it (CPT). Every request carries them all.",
        _CPT,
        needs_train=True,
    ),
    RecipeKind(
        "adapter_houlsby",
        "Adapter (Houlsby)",
        TUNED,
        "bottleneck",
        "Two small learned layers in every block of the model, with the written prompt in front of the row.",
        _adapter("houlsby", "After the attention and feed-forward parts of every block"),
        needs_train=True,
    ),
    RecipeKind(
        "adapter_pfeiffer",
        "Adapter (Pfeiffer)",
        TUNED,
        "bottleneck",
        "One small learned layer in every block: half the size of Houlsby's, with the written prompt in front of the row.",
        _adapter("pfeiffer", "After the feed-forward part of every block"),
        needs_train=True,
    ),
    RecipeKind(
        "full",
        "Full fine-tuning",
        TUNED,
        "full",
        "Every weight learns: what tuning can reach at most. Needs several times the model's memory and leaves a whole model.",
        _FULL,
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


def recipe_options(key: str, given: Mapping[str, Any]) -> dict[str, OptionValue]:
    """All options of an approach with every default written out, the given ones checked.

    Raises:
        UserError: an option is unknown, fixed, of the wrong kind or out of range; the sentence names the approach and the range.
    """
    kind = recipe_get(key)
    known = {option.name: option for option in kind.options}
    for name in given:
        if name not in known:
            raise UserError(f"{kind.name} has no option {quoted(name)}. Its options: {listed(known, most=40) or 'none'}.")
    return {name: _read(kind, option, given.get(name, option.default)) for name, option in known.items()}


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

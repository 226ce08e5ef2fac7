"""The dials of every approach, by the engine's option names as plain text (tests/architecture compares both tables).

Knows no approach as a whole; imports no model library and no Django.
"""

from dataclasses import replace

from experiments.catalogue.kinds import RecipeOption

_RELATIVE = "Size of a step, as a multiple of the typical coordinate of the model's embeddings."


def _learning_rate(default: float, *, relative: bool = False) -> RecipeOption:
    if relative:
        return RecipeOption("learning_rate", "Learning rate", default, _RELATIVE, 1e-5, 10.0, unit="× embedding size")
    return RecipeOption("learning_rate", "Learning rate", default, "Size of a training step.", 1e-7, 1.0)


def _rate_by_size(small: float, large: float, *, relative: bool = False) -> RecipeOption:
    """A learning rate that is smaller on larger models (`step_sizes`)."""
    rate = _learning_rate(small, relative=relative)
    said = f"{rate.help} Empty, it is {small:g} on models below 100 million weights and {large:g} on larger ones."
    return replace(rate, help=said, by_model=f"{small:g} or {large:g}")


CONFIGURATIONS = RecipeOption(
    "configurations",
    "Configurations",
    1,
    "Settings that are tried; the one that does best on validation rows is kept. 1 tries none but what is set.",
    1,
    64,
    sweep=True,
)
_SWEEP = (
    CONFIGURATIONS,
    RecipeOption(
        "varied",
        "What varies",
        "rate",
        "Step sizes that are known to work for the method come first; when all is used up, other seeds.",
        choices=(("rate", "the step size"), ("all", "the step size, the start and the width")),
        sweep=True,
    ),
    RecipeOption(
        "rounds",
        "Rounds",
        "halved",
        "How many steps each configuration gets. In rounds the sweep takes about half of the steps.",
        choices=(("halved", "only the better third goes on, with three times the steps"), ("whole", "each is trained to its end")),
        sweep=True,
    ),
)
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
    RecipeOption(
        "evaluate_every", "Look every", 50, "Steps between two looks at the rows that choose the step.", 1, 1_000_000, unit="steps"
    ),
    RecipeOption("patience", "Patience", 4, "Looks without a better result before it stops early; 0 never does.", 0, 10_000, unit="looks"),
    RecipeOption(
        "validation_rows", "Rows per look", 512, "Most rows of each look; the best step is chosen on them.", 1, 1_000_000, unit="rows"
    ),
    RecipeOption(
        "chosen_on",
        "Rows that choose the step",
        "validation",
        "Train rows set aside leave the validation rows a single look, as a written prompt has, and teach nothing themselves. With fewer "
        "than 20 of them, or several configurations, validation rows choose.",
        choices=(("validation", "validation rows"), ("inner", "train rows set aside")),
    ),
    RecipeOption("inner_share", "Share set aside", 0.1, "Share of train rows set aside, where they choose the step.", 0.01, 0.5),
    *_SWEEP,
)
_VIRTUAL_TOKENS = RecipeOption(
    "num_virtual_tokens",
    "Learned tokens",
    20,
    "Learned vectors in front of the row, the virtual tokens; they take room in it. 0 takes as many as the text has that they start from.",
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


def template_text(value: str) -> RecipeOption:
    words = {"kept": "all of it stays", "replaced": "learned tokens take the place of the text before the row; what follows the row stays"}
    return _prompt_place(value, words[value])


def _prompt_place(value: str, words: str) -> RecipeOption:
    return _fixed("template_text", "Written prompt", value, words)


_OPTIMIZER = RecipeOption(
    "optimizer",
    "Optimiser",
    "adamw",
    "Adafactor is how T5's soft prompts were trained, and for T5 only: the learning rate is then the step itself. T5 gets it, with 0.3 at "
    "every step, unless a learning rate is set.",
    choices=(("adamw", "AdamW"), ("adafactor", "Adafactor, for T5")),
)
SOFT = (_rate_by_size(0.5, 0.05, relative=True), *_TRAINING, _OPTIMIZER, _VIRTUAL_TOKENS, _INIT, _INIT_TEXT)
P_TUNING = (
    _learning_rate(1e-3),
    *_TRAINING,
    replace(_VIRTUAL_TOKENS, low=1, help="Learned vectors in front of the row, the virtual tokens; they take room in it."),
    RecipeOption(
        "encoder_hidden_size", "Network width", 128, "Width of the small network that writes the learned tokens.", 8, 8192, shapes=True
    ),
    template_text("kept"),
)
PREFIX = (_rate_by_size(5e-2, 5e-3), *_TRAINING, _VIRTUAL_TOKENS, _PREFIX_INIT, _INIT_TEXT, template_text("replaced"))
IA3 = (_rate_by_size(5e-2, 5e-3), *_TRAINING, template_text("kept"))
_LORA = (
    _rate_by_size(2e-3, 2e-4),
    *_TRAINING,
    RecipeOption("rank", "Rank", 8, "Width of the learned update of each weight matrix.", 1, 512, shapes=True),
    RecipeOption("alpha", "Alpha", 16.0, "Scale of the update; alpha divided by rank (rsLoRA: by its root) multiplies it.", 0.01, 4096.0),
    RecipeOption("dropout", "Dropout", 0.0, "Share of the update's inputs that training leaves out.", 0.0, 0.9),
    RecipeOption(
        "target_modules", "Matrices", None, "Weight matrices to adapt, comma-separated; empty takes all in the blocks.", shapes=True
    ),
)

WORDINGS = replace(
    CONFIGURATIONS, help="Wordings or draws that are tried by rule; the best on validation rows is kept. 1 leaves the prompt as it is."
)
ONE_WORDING = replace(CONFIGURATIONS, fixed=True)
RULES = (
    ("sum", "the probability of its words"),
    ("mean", "the mean over its tokens"),
    ("prior_corrected", "the probability less what an empty row gets"),
)
SCORE = RecipeOption("score", "Label chosen by", "sum", "What the labels are compared by; the other ways are recorded too.", choices=RULES)
_POLICIES = (("random", "drawn by chance"), ("balanced", "the same number of each label"), ("nearest", "nearest to each row"))
_DRAW_SEED = RecipeOption("draw_seed", "Seed of the draw", 0, "The same seed draws the same train rows.", 0, 2**31 - 1)
_NUM_EXAMPLES = RecipeOption("num_examples", "Examples", 8, "Train rows shown in the prompt.", 1, 64, unit="rows")


def drawn(policy: str) -> tuple[RecipeOption, ...]:
    choices = tuple(choice for choice in _POLICIES if choice[0] == policy)
    draws = ONE_WORDING if policy == "nearest" else WORDINGS
    return (
        RecipeOption("policy", "Examples are", policy, "How the examples are chosen among the train rows.", choices=choices, fixed=True),
        _NUM_EXAMPLES,
        _DRAW_SEED,
        draws,
    )


LABEL_BIAS = (
    RecipeOption("train_rows", "Rows to fit on", 512, "Train rows that are scored to fit one number a label.", 2, 100_000, unit="rows"),
    RecipeOption("penalty", "Pull to zero", 0.01, "Keeps the numbers small where few rows tell.", 1e-4, 100.0),
    _DRAW_SEED,
)


def lora(variant: str, words: str, *, template_text: str = "replaced") -> tuple[RecipeOption, ...]:
    place = {"kept": "all of it stays", "replaced": "the text before the row is left out; what follows the row stays"}[template_text]
    return (*_LORA, _prompt_place(template_text, place), _fixed("variant", "Variant", variant, words, shapes=True))


def adapter(placement: str, words: str) -> tuple[RecipeOption, ...]:
    return (
        _rate_by_size(1e-2, 1e-3),
        *_TRAINING,
        template_text("kept"),
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


CPT = (
    _learning_rate(0.05, relative=True),
    *_TRAINING,
    template_text("replaced"),
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
FULL = (_rate_by_size(1e-4, 2e-5), *_TRAINING, template_text("kept"))


def dspy(optimizer: str, label: str) -> tuple[RecipeOption, ...]:
    """Dials of a search by one of DSPy's optimisers."""
    return (
        RecipeOption("optimizer", "Optimiser", optimizer, "Which of DSPy's optimisers looks.", choices=((optimizer, label),), fixed=True),
        RecipeOption(
            "budget",
            "Budget",
            1000,
            "Evaluations that the search may spend; one is one prompt on one row. Its own texts come on top.",
            64,
            1_000_000,
            unit="evaluations",
        ),
        RecipeOption(
            "num_examples",
            "Examples",
            2,
            "Most train rows in the sets of examples that MIPROv2 tries; GEPA tries none.",
            0,
            4,
            unit="rows",
            fixed=optimizer == "gepa",
        ),
        _DRAW_SEED,
    )


SEARCH = (
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
TEACHING = (
    RecipeOption(
        "targets",
        "Learns",
        "distribution",
        "What it learns of the teacher. How likely every label is says more than the label alone, where the teacher tells it.",
        choices=(("labels", "the teacher's answers"), ("distribution", "how likely the teacher finds each label")),
        teaches=True,
    ),
    RecipeOption(
        "temperature",
        "Temperature",
        1.0,
        "Flattens both sides before they are compared; above 1 the labels that the teacher finds unlikely count more.",
        0.01,
        100.0,
        teaches=True,
    ),
    RecipeOption("rows", "Rows", 0, "Most rows to hear the teacher on; 0 takes all.", 0, 10_000_000, unit="rows", teaches=True),
    RecipeOption(
        "learns_on",
        "Learns on",
        "train",
        "Which rows the teacher teaches. The labels of train rows are not used; unlabelled rows have none, and the data must have some.",
        choices=(("train", "train rows"), ("unlabelled", "unlabelled rows"), ("both", "train and unlabelled rows")),
        teaches=True,
    ),
)

"""What a person asks for before anything is stored: which approaches, on which data, with which seeds, and what stands against it.

Reads the data version, prompts and models that it is given; writes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.conf import settings

from experiments.capabilities import capability_of
from experiments.chains import FirstStep, steps_problems
from experiments.configurations import MOST, num_configurations, reason_for_one, with_configurations
from experiments.curves import SIZES, num_curve_runs
from experiments.errors import UserError
from experiments.extras import writing_problems
from experiments.generation import GenerationPlan
from experiments.models import Artifact, Backbone, DatasetVersion, Example, PriceBook, Run, Split, TemplateVersion
from experiments.models.backbones import BackboneKind
from experiments.models.comparisons import TooLong
from experiments.models.datasets import Task
from experiments.prompt_checks import answer_problems, demonstration_problems
from experiments.recipe_kinds import BASELINE, ENGINEERED, RecipeKind
from experiments.recipes import BASELINES, CATALOGUE, recipe_get, recipe_options, teaching_defaults
from experiments.slots import slot_names
from experiments.starts import start_problems
from experiments.teachers import Teacher, default_teacher, teacher_problems
from experiments.wording import counted, listed, quoted

HOSTED = "hosted"
WITHOUT_MODEL = frozenset({"majority", "label_overlap", "tfidf_logreg"})
BUDGET_NEEDS_PRICES = (
    "A budget in money needs prices to count by. Choose a price book that says what a million input and a million output tokens cost, "
    "or limit the number of calls instead."
)
MAX_RUNS = 200
MAX_SEEDS = 20
MAX_SEED = 2**31 - 1
ADAFACTOR_FAMILIES = ("t5", "mt5")
# Memory of a weight that learns: itself, its gradient, AdamW's two averages and the best candidate, in fp32.
FULL_TUNING_BYTES = 20


@dataclass(frozen=True)
class FocusPlan:
    """Train rows that a run got wrong or right by little, as ids, and how often training shows them; see `models.Focus`."""

    run: Run
    rows: tuple[int, ...]
    times: int
    odds: float
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True)
class ApproachPlan:
    """One contender: a line of the catalogue with a model, a prompt and its own settings.

    Baselines carry the prompt and the model too: they see the same columns and answer words, and the probe reads the model.

    Args:
        start: the tuned prompt that training starts from, instead of the recipe's own start.
        teacher: whose answers to train rows it learns, instead of the rows' labels.
        focus: train rows that training shows more often, and those that it leaves out.
    """

    recipe: str
    backbone: Backbone
    template_version: TemplateVersion
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    start: Artifact | None = None
    teacher: Teacher | None = None
    focus: FocusPlan | None = None

    @property
    def kind(self) -> RecipeKind:
        return recipe_get(self.recipe)

    @property
    def family(self) -> str:
        """What kind of contender it is; a written prompt on an endpoint is one of its own."""
        return HOSTED if self.asks_endpoint else self.kind.family

    @property
    def asks_endpoint(self) -> bool:
        """Whether its answers come from a hosted model. A plain baseline asks none, whatever model was chosen beside it."""
        return self.backbone.is_hosted and self.kind.method not in WITHOUT_MODEL

    @property
    def takes_two_steps(self) -> bool:
        """Whether a prompt with a first step can be run; plain baselines read its columns and no step of it."""
        return self.kind.method == "hard_prompt" or self.kind.family == BASELINE

    @property
    def steps_a_row(self) -> int:
        """How often the model is asked about a row."""
        return 2 if self.template_version.first_step and self.kind.method == "hard_prompt" else 1

    @property
    def reason_for_one(self) -> str:
        """Why it tries only the configuration that was set; empty where it can try more."""
        defaults = {option.name: option.default for option in self.kind.options}
        given = {name: value for name, value in self.options.items() if value not in (None, "")}
        return reason_for_one(self.family, self.kind.method, {**defaults, **given}, two_steps=self.steps_a_row == 2)

    def trying(self, configurations: int) -> "ApproachPlan":
        """The same contender, which tries this many configurations where it can."""
        if configurations <= 1 or self.reason_for_one:
            return self
        return replace(self, options=with_configurations(self.kind.method, self.options, configurations))

    @property
    def shown_name(self) -> str:
        """The given name, or one made of the approach and, where it tells prompts apart, the prompt."""
        if self.name:
            return self.name[:160]
        if self.kind.family == ENGINEERED:
            where = f" on {self.backbone.name}" if self.backbone.is_hosted else ""
            return f"{self.kind.name}: {self.template_version.template.name} v{self.template_version.number}{where}"[:160]
        return self.kind.name


@dataclass(frozen=True)
class ExperimentPlan:
    """A whole comparison before it is stored.

    Args:
        seeds: seeds of the tuned approaches; the others run once.
        margin: non-inferiority margin, a share of rows (0.01 = one point).
        monthly_requests: the volume that the money columns assume.
        generation: how free answers are written; a classification has none.
        curve_when_finished: whether the learning curve follows when every run has ended.
        endpoint_requests, endpoint_money: the most that hosted endpoints may be called, and may bill; None is no limit.
        configurations: how many each approach tries on validation rows, unless its own options say otherwise.
    """

    name: str
    dataset_version: DatasetVersion
    approaches: tuple[ApproachPlan, ...]
    seeds: tuple[int, ...] = (0, 1)
    description: str = ""
    price_book: PriceBook | None = None
    too_long: str = TooLong.REFUSE.value
    truncate_column: str = ""
    monthly_requests: int = 100_000
    margin: float = 0.01
    endpoint_requests: int | None = None
    endpoint_money: Decimal | None = None
    open_test_when_finished: bool = False
    curve_when_finished: bool = False
    generation: GenerationPlan = field(default_factory=GenerationPlan)
    configurations: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "approaches", tuple(each.trying(self.configurations) for each in self.approaches))

    def seeds_of(self, approach: ApproachPlan) -> tuple[int, ...]:
        return self.seeds if approach.kind.is_tuned else (0,)

    @property
    def num_runs(self) -> int:
        return sum(len(self.seeds_of(approach)) for approach in self.approaches)


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
        approaches += [plan for plan in beside if plan.backbone != choice.backbone and not _endpoint_problems(plan)]
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


def plan_problems(plan: ExperimentPlan) -> list[str]:
    """Everything that stands against a launch, a sentence each; empty when the comparison can start."""
    if not plan.dataset_version.completed_at:
        return [f"{plan.dataset_version} is not complete. Finish its upload under Data, then choose it here."]
    if not plan.approaches:
        return ["There is nothing to compare. Choose at least one approach and one prompt."]
    problems = [*_data_problems(plan), *_seed_problems(plan), *_size_problems(plan), *_steps_problems(plan)]
    teachers = (approach.teacher.version for approach in plan.approaches if approach.teacher and approach.teacher.version)
    for template in dict.fromkeys([*(approach.template_version for approach in plan.approaches), *teachers]):
        problems += _template_problems(template, plan)
    for backbone in dict.fromkeys(approach.backbone for approach in plan.approaches):
        problems += _backbone_problems(backbone)
    problems += _budget_problems(plan)
    writing = [approach for approach in plan.approaches if approach.kind.method == "dspy_search"]
    problems += writing_problems(
        list(dict.fromkeys(each.kind.name for each in writing)), list(dict.fromkeys(each.backbone for each in writing))
    )
    for approach in plan.approaches:
        problems += _endpoint_problems(approach) or [*_approach_problems(approach), *_teacher_problems(approach, plan)]
    return list(dict.fromkeys(problems))


def _data_problems(plan: ExperimentPlan) -> Iterator[str]:
    version = plan.dataset_version
    if not version.split_counts.get(Split.VALIDATION):
        yield f"{version} has no validation rows. Choices are made on them: upload the data with a validation split, or let it be drawn."
    learners = sorted({approach.kind.name for approach in plan.approaches if approach.kind.needs_train})
    if learners and not version.split_counts.get(Split.TRAIN):
        yield f"{version} has no train rows, but {listed(learners)} learn from them. Add train rows, or leave these approaches out."
    if plan.open_test_when_finished and not version.split_counts.get(Split.TEST):
        yield f"{version} has no test rows to open. Untick “Open the test set”, or upload the data with a test split."
    if plan.curve_when_finished and not num_curve_runs(version, (approach.kind.method for approach in plan.approaches), len(plan.seeds)):
        yield f"A learning curve needs more than {SIZES[0]} train rows and an approach that learns from them. Untick it, or add them."
    if version.task == Task.CLASSIFICATION:
        yield from _label_problems(version, trains=bool(learners))
    elif unfit := sorted({approach.kind.name for approach in plan.approaches if approach.recipe in ("label_bias", "prior_corrected")}):
        yield f"{listed(unfit)} weigh labels against each other, but these answers are free text. Leave them out."
    if version.task == Task.EXTRACTION:
        yield from _generation_problems(plan)
    most = max((_num_examples(approach) for approach in plan.approaches), default=0)
    if most > version.split_counts.get(Split.TRAIN, 0) > 0:
        yield f"{counted(most, 'example')} are to be shown, but {version} has {counted(version.split_counts[Split.TRAIN], 'train row')}."


def _num_examples(approach: ApproachPlan) -> int:
    if approach.kind.method != "drawn_examples":
        return 0
    asked: Any = approach.options.get("num_examples") or approach.kind.default_of("num_examples") or 0
    try:
        return int(asked)
    except (TypeError, ValueError):
        return 0  # the catalogue refuses it with its own sentence


def _generation_problems(plan: ExperimentPlan) -> Iterator[str]:
    baselines = sorted({approach.kind.name for approach in plan.approaches if approach.kind.family == "baseline"})
    if baselines:
        yield f"{listed(baselines)} answer with labels, and {plan.dataset_version} has free answers. Leave them out."
    yield from plan.generation.problems()
    for stop in plan.generation.stop:
        # SQLite's "contains" takes small letters for capitals, the engine does not.
        found = Example.objects.filter(version=plan.dataset_version, label__contains=stop).only("position", "label").order_by("position")
        cut = next((row for row in found.iterator() if stop in row.label), None)
        if cut:
            name = "a line break" if stop == "\n" else quoted(stop)
            yield f"Row {cut.position:,} has {name} in its reference, but answers end there, so none could be right. Remove that stop text."


def _label_problems(version: DatasetVersion, *, trains: bool) -> Iterator[str]:
    if len(version.labels) < 2:
        yield f"{version} has {counted(len(version.labels), 'label')}. A comparison needs rows of at least two labels."
    if not trains or not version.split_counts.get(Split.TRAIN):
        return
    trained = set(Example.objects.filter(version=version, split=Split.TRAIN).order_by().values_list("label", flat=True).distinct())
    missing = [label for label in version.labels if label not in trained]
    if missing:
        names = listed(map(quoted, missing))
        yield f"No train row has the label {names}, so nothing can learn it. Add train rows for it, or draw the splits again."


def _seed_problems(plan: ExperimentPlan) -> Iterator[str]:
    if not any(approach.kind.is_tuned for approach in plan.approaches):
        return
    if not plan.seeds:
        yield "The tuned approaches need at least one seed. Give one or more whole numbers, such as 0, 1."
    if len(set(plan.seeds)) != len(plan.seeds):
        yield "A seed is given twice, which would train the same thing again. Give each seed once."
    if len(plan.seeds) > MAX_SEEDS:
        yield f"There are {len(plan.seeds)} seeds; at most {MAX_SEEDS} are allowed. Remove some."
    if any(not 0 <= seed <= MAX_SEED for seed in plan.seeds):
        yield f"A seed is out of range. Seeds are whole numbers from 0 to {MAX_SEED:,}."


def _size_problems(plan: ExperimentPlan) -> Iterator[str]:
    if not 1 <= plan.configurations <= MOST:
        yield f"Each approach is to try {plan.configurations:,} configurations; it can try from 1 to {MOST}."
    if plan.num_runs > MAX_RUNS:
        yield f"This would make {plan.num_runs:,} runs; a comparison holds {MAX_RUNS}. Choose fewer prompts, approaches or seeds."
    if plan.too_long != TooLong.TRUNCATE:
        return
    if plan.truncate_column not in plan.dataset_version.columns:
        yield f"Choose the column to cut when a row is too long: {listed(map(quoted, plan.dataset_version.columns))}."


def _steps_problems(plan: ExperimentPlan) -> Iterator[str]:
    """Only a written prompt can have two steps: what is learned or searched for is learned in one."""
    unfit = [plan for plan in plan.approaches if plan.template_version.first_step and not plan.takes_two_steps]
    for template in dict.fromkeys(approach.template_version for approach in unfit):
        names = [approach.kind.name for approach in unfit if approach.template_version == template]
        verb, they = ("starts", "it") if len(names) == 1 else ("start", "them")
        yield (
            f"{listed(names)} {verb} from a prompt of one step, but {quoted(str(template))} has a first step. "
            f"Choose a prompt without one as the start, or leave {they} out."
        )


def _template_problems(template: TemplateVersion, plan: ExperimentPlan) -> Iterator[str]:
    version = plan.dataset_version
    texts = (template.system, template.user, template.answer_cue)
    first, label_column = FirstStep.from_json(template.first_step), version.mapping.get("label_column")
    for problem in steps_problems(first, texts, columns=version.columns, hidden=[label_column] if label_column else []):
        yield f"Prompt {quoted(str(template))}: {problem}"
    cut = plan.truncate_column if plan.too_long == TooLong.TRUNCATE else ""
    if cut in version.columns and cut not in slot_names(*texts, first.text if first else ""):
        yield f"Prompt {quoted(str(template))} has no slot {{{{{cut}}}}}, the column to cut. Choose one that every prompt shows."
    yield from answer_problems(template, version)
    yield from demonstration_problems(template, version)


def _backbone_problems(backbone: Backbone) -> Iterator[str]:
    if backbone.problem:
        yield f"The model {quoted(backbone.name)} was refused: {backbone.problem}"
    elif not backbone.verified_at and backbone.kind != BackboneKind.BUNDLED:
        yield f"The model {quoted(backbone.name)} has not been verified by a worker. Verify it in the Library."


def _endpoint_problems(approach: ApproachPlan) -> list[str]:
    """What an endpoint cannot do for an approach, and what to do instead."""
    kind, model = approach.kind, quoted(approach.backbone.name)
    if not approach.asks_endpoint:
        return []
    if kind.is_tuned:
        return [f"{kind.name} is trained inside the model, which the endpoint of {model} does not allow. Choose one that runs on workers."]
    if kind.family == BASELINE:
        return [f"{kind.name} reads the model's inner states, which the endpoint of {model} does not give. Leave it out."]
    if kind.method == "dspy_search":
        return []
    if kind.method == "drawn_examples":
        return [f"{kind.name} draws its examples where the model runs. For the endpoint of {model}, show examples in the prompt itself."]
    if kind.method != "hard_prompt" or (approach.options.get("score") or kind.default_of("score") or "sum") != "sum":
        return [f"{kind.name} compares the log-likelihood of every label, which the endpoint of {model} does not tell. Leave it out."]
    return []


def _budget_problems(plan: ExperimentPlan) -> Iterator[str]:
    if not any(approach.asks_endpoint for approach in plan.approaches) or plan.endpoint_money is None:
        return
    book = plan.price_book
    if book is None or book.input_million_tokens is None or book.output_million_tokens is None:
        yield BUDGET_NEEDS_PRICES


def _approach_problems(approach: ApproachPlan) -> Iterator[str]:
    try:
        options = recipe_options(approach.recipe, approach.options)
    except UserError as error:
        yield str(error)
        return
    yield from _sweep_problems(approach, options)
    if approach.start:
        yield from start_problems(approach.kind, options, approach.backbone, approach.start)
    yield from _memory_problems(approach)
    family = approach.backbone.facts.get("family")
    if options.get("optimizer") == "adafactor" and family and family not in ADAFACTOR_FAMILIES:
        yield f"{approach.kind.name}: Adafactor is for T5, and {quoted(approach.backbone.name)} is of the family {family}. Choose AdamW."
    known = capability_of(approach.backbone.facts.get("family"), approach.kind.method)
    if known and known.is_refused:
        yield f"{approach.kind.name} cannot run on {quoted(approach.backbone.name)}. {known.reason}"
    window, learned = approach.backbone.facts.get("window"), options.get("num_virtual_tokens")
    if isinstance(window, int) and isinstance(learned, int) and learned >= window:
        yield (
            f"{approach.kind.name}: {learned:,} learned tokens do not fit into the {window:,} tokens that {quoted(approach.backbone.name)} "
            "can hold. Choose fewer."
        )


def _teacher_problems(approach: ApproachPlan, plan: ExperimentPlan) -> Iterator[str]:
    targets = approach.options.get("targets") or teaching_defaults()["targets"]
    yield from teacher_problems(approach.kind, targets, approach.teacher, plan.dataset_version)


def _sweep_problems(approach: ApproachPlan, options: Mapping[str, Any]) -> Iterator[str]:
    if num_configurations(options) > 1 and approach.reason_for_one:
        yield f"{approach.kind.name} can try only one configuration, because {approach.reason_for_one}. Set its configurations to 1."


def _memory_problems(approach: ApproachPlan) -> Iterator[str]:
    """A first check of the memory that full fine-tuning takes; the worker looks again before it starts."""
    weights, limit = approach.backbone.facts.get("parameters"), settings.JOB_MEMORY_LIMIT_BYTES
    if approach.kind.method != "full" or not isinstance(weights, int) or not limit:
        return
    needed = weights * FULL_TUNING_BYTES
    if needed > limit:
        yield (
            f"{approach.kind.name} of {quoted(approach.backbone.name)} needs about {needed / 2**30:.1f} GiB of memory; a job may use "
            f"{limit / 2**30:.1f} GiB. Leave it out, or choose a smaller model."
        )

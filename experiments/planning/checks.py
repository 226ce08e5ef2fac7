"""What stands against a comparison before it is stored, a sentence each. Reads the data, prompts and models of the plan; writes nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from experiments.catalogue.capabilities import capability_of
from experiments.catalogue.configurations import MOST, num_configurations
from experiments.catalogue.kinds import BASELINE
from experiments.catalogue.recipes import recipe_options, teaching_defaults
from experiments.catalogue.step_sizes import ADAFACTOR_FAMILIES
from experiments.errors import UserError
from experiments.models import Backbone, DatasetVersion, Example, Split, TemplateVersion
from experiments.models.backbones import FEW_BITS, BackboneKind
from experiments.models.comparisons import TooLong
from experiments.models.datasets import Task
from experiments.planning.curves import SIZES, num_curve_runs
from experiments.planning.extras import writing_problems
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.planning.starts import start_problems, text_problems
from experiments.planning.teachers import teacher_problems
from experiments.prompting.chains import FirstStep, steps_problems
from experiments.prompting.checks import answer_problems, demonstration_problems
from experiments.prompting.slots import slot_names
from experiments.wording import counted, listed, quoted

BUDGET_NEEDS_PRICES = (
    "A budget in money needs prices to count by. Choose a price book that says what a million input and a million output tokens cost, "
    "or limit the number of calls instead."
)
MAX_RUNS = 200
MAX_SEEDS = 20
MAX_SEED = 2**31 - 1
# Memory of a weight that learns: itself, its gradient, AdamW's two averages and the best candidate, in fp32.
FULL_TUNING_BYTES = 20


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
        problems += [*_backbone_problems(backbone), *_length_problems(backbone, plan)]
    problems += _budget_problems(plan)
    writing = [approach for approach in plan.approaches if approach.kind.method == "dspy_search"]
    problems += writing_problems(
        list(dict.fromkeys(each.kind.name for each in writing)), list(dict.fromkeys(each.backbone for each in writing))
    )
    for approach in plan.approaches:
        problems += endpoint_problems(approach) or [*_approach_problems(approach, plan), *_teacher_problems(approach, plan)]
    return list(dict.fromkeys(problems))


def _data_problems(plan: ExperimentPlan) -> Iterator[str]:
    version = plan.dataset_version
    if not version.split_counts.get(Split.VALIDATION):
        yield f"{version} has no validation rows. Choices are made on them: upload the data with a validation split, or let it be drawn."
    learners = sorted({approach.kind.name for approach in plan.approaches if approach.needs_train})
    if learners and not version.split_counts.get(Split.TRAIN):
        yield f"{version} has no train rows, but {listed(learners)} learn from them. Add train rows, or leave these approaches out."
    if plan.open_test_when_finished and not version.split_counts.get(Split.TEST):
        yield f"{version} has no test rows to open. Untick “Open the test set”, or upload the data with a test split."
    if plan.curve_when_finished and not num_curve_runs(version, plan.curve_methods, len(plan.seeds)):
        yield f"A learning curve needs more than {SIZES[0]} train rows and an approach that learns from them. Untick it, or add them."
    if version.task == Task.CLASSIFICATION:
        yield from _label_problems(version, trains=bool(learners))
    else:
        yield from _free_answer_problems(plan)
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


def _free_answer_problems(plan: ExperimentPlan) -> Iterator[str]:
    if unfit := sorted({approach.kind.name for approach in plan.approaches if approach.recipe in ("label_bias", "prior_corrected")}):
        yield f"{listed(unfit)} weigh labels against each other, but these answers are free text. Leave them out."
    for approach in plan.approaches:
        if approach.recipe != "prior_corrected" and _score_of(approach) != "sum":
            yield f"{approach.kind.name} is to choose labels by another score, and free answers have none. Leave that setting as it is."
    yield from _generation_problems(plan)


def _score_of(approach: ApproachPlan) -> str:
    return str(approach.options.get("score") or approach.kind.default_of("score") or "sum")


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


def _length_problems(backbone: Backbone, plan: ExperimentPlan) -> Iterator[str]:
    """Texts that a model may write and that take all it can hold."""
    window = backbone.facts.get("window")
    if backbone.is_hosted or not isinstance(window, int):
        return
    if plan.dataset_version.task == Task.EXTRACTION and plan.generation.max_new_tokens >= window:
        yield _no_room("An answer", plan.generation.max_new_tokens, backbone.name, window)
    for template in dict.fromkeys(approach.template_version for approach in plan.approaches if approach.backbone == backbone):
        first = FirstStep.from_json(template.first_step)
        if first and first.max_tokens >= window:
            yield _no_room(f"The first step of {quoted(str(template))}", first.max_tokens, backbone.name, window)


def _no_room(what: str, tokens: int, model: str, window: int) -> str:
    return (
        f"{what} may have {tokens:,} tokens, which leaves no room for a row in the {window:,} that {quoted(model)} can hold. Allow fewer."
    )


def endpoint_problems(approach: ApproachPlan) -> list[str]:
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
        if kind.default_of("policy") != "nearest":
            return []
        return [
            f"{kind.name} needs the model's inner states, which the endpoint of {model} does not give. Draw examples by chance instead."
        ]
    if kind.method != "hard_prompt" or (approach.options.get("score") or kind.default_of("score") or "sum") != "sum":
        return [f"{kind.name} compares the log-likelihood of every label, which the endpoint of {model} does not tell. Leave it out."]
    return []


def _budget_problems(plan: ExperimentPlan) -> Iterator[str]:
    if not any(approach.asks_endpoint for approach in plan.approaches) or plan.endpoint_money is None:
        return
    book = plan.price_book
    if book is None or book.input_million_tokens is None or book.output_million_tokens is None:
        yield BUDGET_NEEDS_PRICES


def _approach_problems(approach: ApproachPlan, plan: ExperimentPlan) -> Iterator[str]:
    try:
        options = recipe_options(approach.recipe, approach.options, approach.backbone.facts)
    except UserError as error:
        yield str(error)
        return
    yield from _sweep_problems(approach, options)
    yield from text_problems(approach.kind, options, approach.template_version, plan.dataset_version, approach.backbone)
    if approach.start:
        yield from start_problems(approach.kind, options, approach.backbone, approach.start)
    yield from _full_problems(approach)
    family = approach.backbone.facts.get("family")
    if options.get("optimizer") == "adafactor" and family and family not in ADAFACTOR_FAMILIES:
        yield f"{approach.kind.name}: Adafactor is for T5, and {quoted(approach.backbone.name)} is of the family {family}. Choose AdamW."
    known = capability_of(approach.backbone.facts.get("family"), approach.kind)
    if known and known.is_refused:
        yield f"{approach.kind.name} cannot run on {quoted(approach.backbone.name)}. {known.reason}"
    window, learned = approach.backbone.facts.get("window"), options.get("num_virtual_tokens")
    if isinstance(window, int) and isinstance(learned, int) and learned >= window:
        yield (
            f"{approach.kind.name}: {learned:,} learned tokens do not fit into the {window:,} tokens that {quoted(approach.backbone.name)} "
            "can hold. Choose fewer."
        )


def _teacher_problems(approach: ApproachPlan, plan: ExperimentPlan) -> Iterator[str]:
    teaching = {name: approach.options.get(name) or default for name, default in teaching_defaults().items()}
    yield from teacher_problems(approach.kind, teaching, approach.teacher, plan.dataset_version)


def _sweep_problems(approach: ApproachPlan, options: Mapping[str, Any]) -> Iterator[str]:
    if num_configurations(options) > 1 and approach.reason_for_one:
        yield f"{approach.kind.name} can try only one configuration, because {approach.reason_for_one}. Set its configurations to 1."


def _full_problems(approach: ApproachPlan) -> Iterator[str]:
    """A first check of the weights that full fine-tuning changes and of its memory; the worker looks again before it starts."""
    weights, limit = approach.backbone.facts.get("parameters"), settings.JOB_MEMORY_LIMIT_BYTES
    if approach.kind.method != "full":
        return
    if approach.backbone.dtype in FEW_BITS:
        yield (
            f"{approach.kind.name} changes every weight, and {quoted(approach.backbone.name)} holds them in "
            f"{approach.backbone.get_dtype_display()}, which cannot learn. Choose LoRA, or the model in bf16 or fp32."
        )
    if not isinstance(weights, int) or not limit:
        return
    needed = weights * FULL_TUNING_BYTES
    if needed > limit:
        yield (
            f"{approach.kind.name} of {quoted(approach.backbone.name)} needs about {needed / 2**30:.1f} GiB of memory; a job may use "
            f"{limit / 2**30:.1f} GiB. Leave it out, or choose a smaller model."
        )

"""How much work a plan is, before it is launched: rows, steps and, where earlier runs were measured, time. Reads only.

Nothing is guessed: an approach that was never run on the model has no time, and the page says so.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from experiments.catalogue.configurations import num_configurations, sweep_rows, sweep_steps
from experiments.catalogue.kinds import BASELINE
from experiments.catalogue.recipes import recipe_options
from experiments.models import Backbone, Evaluation, Example, JobState, Run, Split
from experiments.planning.curves import num_curve_runs
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.planning.teachers import taught_splits
from experiments.wording import lasting, listed

RECENT = 100
SAMPLE = 200
CHARACTERS_PER_TOKEN = 4  # English text on a common tokenizer; shown as "roughly"


@dataclass(frozen=True)
class Speed:
    """What earlier runs of one method on one model took; None where nothing was measured."""

    rows_per_second: float | None = None
    seconds_per_step: float | None = None


@dataclass(frozen=True)
class Estimate:
    """Size of a plan.

    Args:
        num_predictions: validation rows times runs.
        num_steps: most training steps of all runs together, every configuration counted.
        num_configurations: configurations that are scored on validation rows in all runs, plain baselines left out.
        num_plain_runs: runs of plain baselines, which have no configurations.
        num_asked: rows that prompts which teach are asked about.
        num_curve_runs: runs of the learning curve that follows; 0 when none was asked for.
        num_calls, num_test_calls: calls of hosted endpoints, one a row and step of the prompt, each at a price.
        characters: mean length of a row's text columns, of a sample.
        seconds: time of the approaches that were measured before; None when none was.
        unknown: names of approaches without a measured time.
    """

    num_approaches: int
    num_runs: int
    num_predictions: int
    num_test_predictions: int
    num_steps: int
    num_configurations: int
    num_plain_runs: int
    num_asked: int
    num_curve_runs: int
    num_calls: int
    num_test_calls: int
    characters: float
    seconds: float | None
    unknown: tuple[str, ...]

    @property
    def tokens_per_row(self) -> int:
        """Rough tokens of a row's own text, without prompt and examples."""
        return round(self.characters / CHARACTERS_PER_TOKEN)

    @property
    def time_text(self) -> str:
        """The time as a sentence, which says what it does not know."""
        if self.seconds is None:
            return "Time: unknown until the first run of these approaches on this model."
        text = f"Time: about {lasting(self.seconds)}, one run after another, as measured on earlier runs."
        if self.unknown:
            text += f" Not counted, because never run on this model: {listed(self.unknown)}."
        return text


def plan_estimate(plan: ExperimentPlan) -> Estimate:
    """The size of a plan and its time, as far as earlier runs of the same model tell."""
    counts = plan.dataset_version.split_counts
    speeds = {backbone: measured_speeds(backbone) for backbone in {approach.backbone for approach in plan.approaches}}
    seconds = [(approach.shown_name, _seconds(plan, approach, speeds[approach.backbone])) for approach in plan.approaches]
    known = [value for _, value in seconds if value is not None]
    num_hosted = sum(approach.steps_a_row for approach in plan.approaches if approach.asks_endpoint)
    return Estimate(
        num_approaches=len(plan.approaches),
        num_runs=plan.num_runs,
        num_predictions=plan.num_runs * counts.get(Split.VALIDATION, 0),
        num_test_predictions=plan.num_runs * counts.get(Split.TEST, 0),
        num_steps=sum(_steps(approach) * len(plan.seeds_of(approach)) for approach in plan.approaches),
        num_configurations=sum(_tried(approach) * len(plan.seeds_of(approach)) for approach in plan.approaches),
        num_plain_runs=sum(len(plan.seeds_of(approach)) for approach in plan.approaches if approach.kind.family == BASELINE),
        num_asked=sum(_asked_of_teacher(plan, approach) for approach in plan.approaches),
        num_curve_runs=_curve_runs(plan),
        num_calls=num_hosted * counts.get(Split.VALIDATION, 0),
        num_test_calls=num_hosted * counts.get(Split.TEST, 0),
        characters=_mean_characters(plan),
        seconds=sum(known) if known else None,
        unknown=tuple(dict.fromkeys(name for name, value in seconds if value is None)),
    )


def _curve_runs(plan: ExperimentPlan) -> int:
    return num_curve_runs(plan.dataset_version, plan.curve_methods, len(plan.seeds)) if plan.curve_when_finished else 0


def measured_speeds(backbone: Backbone) -> dict[str, Speed]:
    """Median speeds of the latest runs on a model, by the engine's method name, prompts of two steps apart."""
    scored: dict[str, list[float]] = defaultdict(list)
    stepped: dict[str, list[float]] = defaultdict(list)
    evaluations = Evaluation.objects.filter(run__approach__backbone=backbone, completed_at__isnull=False).order_by("-completed_at")
    told = evaluations.values_list("run__approach__method", "run__approach__template_version__first_step", "summary")
    for method, first_step, summary in told[:RECENT]:
        _collect(scored[_speed_name(method, 2 if first_step else 1)], [_at(summary, "rows_per_second")])
    runs = Run.objects.filter(approach__backbone=backbone, job__state=JobState.SUCCEEDED).order_by("-job__finished_at")
    for method, result in runs.values_list("approach__method", "result")[:RECENT]:
        steps = _at(result, "training", "steps") or 0
        spent = (_at(result, "training", "train_seconds") or 0) + (_at(result, "training", "evaluation_seconds") or 0)
        _collect(stepped[method], [spent / steps if steps else None])
    return {method: Speed(_median(scored[method]), _median(stepped[method])) for method in {*scored, *stepped}}


def _seconds(plan: ExperimentPlan, approach: ApproachPlan, speeds: dict[str, Speed]) -> float | None:
    """Time of all runs of an approach, validation rows included; None when a part of it was never measured."""
    speed = speeds.get(_speed_name(approach.kind.method, approach.steps_a_row), Speed())
    steps = _steps(approach)
    asked, teacher = _asked_of_teacher(plan, approach), speeds.get("hard_prompt", Speed())
    if not speed.rows_per_second or (steps and not speed.seconds_per_step) or (asked and not teacher.rows_per_second):
        return None
    teaching = asked / (teacher.rows_per_second or 1.0)
    num_rows = plan.dataset_version.split_counts.get(Split.VALIDATION, 0)
    scoring = (num_rows + _searched(approach, num_rows)) / speed.rows_per_second
    seconds: float = len(plan.seeds_of(approach)) * (scoring + steps * (speed.seconds_per_step or 0.0))
    return seconds + teaching


def _speed_name(method: str, steps_a_row: int) -> str:
    """A prompt of two steps is slower than others of its method, so that its speed is another one."""
    return f"{method} in two steps" if steps_a_row == 2 and method == "hard_prompt" else method


def _steps(approach: ApproachPlan) -> int:
    return sweep_steps(recipe_options(approach.recipe, approach.options))


def _tried(approach: ApproachPlan) -> int:
    return 0 if approach.kind.family == BASELINE else num_configurations(recipe_options(approach.recipe, approach.options))


def _searched(approach: ApproachPlan, num_rows: int) -> int:
    """Rows that are scored before the approach is ready: the budget of a search, other wordings, the train rows of a label bias."""
    options = recipe_options(approach.recipe, approach.options)
    rows = options.get("budget") or options.get("train_rows") or sweep_rows(options, num_rows)
    return rows if isinstance(rows, int) else 0


def _asked_of_teacher(plan: ExperimentPlan, approach: ApproachPlan) -> int:
    """Rows that a teacher's prompt is asked about, once for all seeds; answers that were given before cost nothing more."""
    if approach.teacher is None or approach.teacher.version is None:
        return 0
    counts, options = plan.dataset_version.split_counts, recipe_options(approach.recipe, approach.options)
    taught, limit = sum(int(counts.get(split, 0)) for split in taught_splits(options.get("learns_on"))), options.get("rows")
    return (min(taught, limit) if isinstance(limit, int) and limit else taught) + int(counts.get(Split.VALIDATION, 0))


def _mean_characters(plan: ExperimentPlan) -> float:
    rows = Example.objects.filter(version=plan.dataset_version, split=Split.VALIDATION).values_list("fields", flat=True)[:SAMPLE]
    lengths = [sum(len(str(value)) for value in fields.values()) for fields in rows]
    return sum(lengths) / len(lengths) if lengths else 0.0


def _at(record: Any, *path: str) -> float | None:
    """A number inside nested JSON; None where a key is missing or the value is no number."""
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return float(record) if isinstance(record, int | float) else None


def _collect(into: list[float], values: Iterable[float | None]) -> None:
    into += [value for value in values if value]


def _median(values: list[float]) -> float | None:
    return median(values) if values else None

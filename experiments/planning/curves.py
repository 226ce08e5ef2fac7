"""What a learning curve of a comparison would run: sizes, approaches, what is left out and why, and how long it takes. Reads only."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from experiments.catalogue.recipes import CATALOGUE
from experiments.models import Approach, DatasetVersion, Experiment, JobState, Run, Split
from experiments.models.comparisons import Family
from experiments.wording import counted, listed

SIZES = (16, 64, 256, 1024)
MAX_CURVE_RUNS = 200
# A search learns from validation rows, and the most frequent label from how often labels occur, which a balanced draw hides.
NOT_DRAWN = ("prompt_search", "dspy_search", "majority")
TIMES = (
    *("result__training__train_seconds", "result__training__evaluation_seconds"),
    *("result__timings__train", "result__timings__score"),
)
LEARNERS = frozenset(kind.method for kind in CATALOGUE.values() if kind.needs_train) - set(NOT_DRAWN)


@dataclass(frozen=True)
class CurvePlan:
    """A learning curve before it is launched.

    Args:
        points: (approach, number of train rows) of every point that needs runs; the comparison itself holds the point of all rows.
        notes: what is left out and why, a sentence each.
        seconds: time of all runs as the same approaches took it on all rows; None where one was not measured.
        problem: why there can be no curve; empty when there can.
    """

    sizes: tuple[int, ...]
    points: tuple[tuple[Approach, int], ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...]
    seconds: float | None
    problem: str

    @property
    def num_runs(self) -> int:
        return len(self.points) * len(self.seeds)

    @property
    def learners(self) -> list[Approach]:
        """The approaches that get a curve, each once."""
        return list({approach.pk: approach for approach, _ in self.points}.values())


def learns_from_rows(method: str) -> bool:
    """Whether more train rows could make an approach of this method better."""
    return method in LEARNERS


def curve_sizes(num_train_rows: int) -> tuple[int, ...]:
    """The sizes below the number of train rows."""
    return tuple(size for size in SIZES if size < num_train_rows)


def num_curve_runs(version: DatasetVersion, methods: Iterable[str], num_seeds: int) -> int:
    """About how many runs the learning curve of a comparison that is not launched yet will take."""
    learners = sum(learns_from_rows(method) for method in methods)
    return learners * len(curve_sizes(version.split_counts.get(Split.TRAIN, 0))) * max(1, num_seeds)


def curve_plan(experiment: Experiment) -> CurvePlan:
    """The learning curve that a comparison can have."""
    version = experiment.dataset_version
    sizes = curve_sizes(version.split_counts.get(Split.TRAIN, 0))
    approaches = experiment.approaches.select_related("start_artifact__run__approach__experiment__dataset_version")
    learners = [approach for approach in approaches if learns_from_rows(approach.method)]
    billed = [approach for approach in learners if approach.family == Family.HOSTED]
    learners = [approach for approach in learners if approach not in billed]
    fresh = [approach for approach in learners if not approach.teaching and not _has_seen_rows(approach)]
    made = set(Run.objects.filter(approach__in=fresh, job__state=JobState.SUCCEEDED).values_list("approach", flat=True))
    able = [approach for approach in fresh if approach.pk in made]
    points = tuple((approach, size) for approach in able for size in sizes if _shown_rows(approach) <= size)
    seeds = tuple(experiment.seeds) or (0,)
    return CurvePlan(
        sizes=sizes,
        points=points,
        seeds=seeds,
        notes=tuple(_notes(learners, fresh, able, billed)),
        seconds=_seconds(experiment, points, len(seeds)),
        problem=_problem(experiment, sizes, points, len(seeds)),
    )


def _has_seen_rows(approach: Approach) -> bool:
    """Whether it starts from a tuned prompt that was made with rows of the same data: few rows would not be few then."""
    start = approach.start_artifact
    ours = approach.experiment.dataset_version.dataset_id
    return start is not None and start.run.approach.experiment.dataset_version.dataset_id == ours


def _shown_rows(approach: Approach) -> int:
    """Train rows that must be there because the prompt shows them."""
    return int(approach.recipe.get("num_examples") or 0) if approach.method == "drawn_examples" else 0


def _notes(learners: list[Approach], fresh: list[Approach], able: list[Approach], billed: list[Approach]) -> Iterator[str]:
    started = [approach.name for approach in learners if approach not in fresh and not approach.teaching]
    taught = [approach.name for approach in learners if approach.teaching]
    failed = [approach.name for approach in fresh if approach not in able]
    if started:
        yield f"{listed(started)}: left out, because the tuned prompt that it starts from has learned from rows of this data."
    if taught:
        yield f"{listed(taught)}: left out, because a teacher answers for the rows, so that no labels are needed."
    if billed:
        yield f"{listed(each.name for each in billed)}: left out, because the endpoint would bill every row of every point."
    if failed:
        yield f"{listed(failed)}: left out, because no run of it has succeeded."


def _problem(experiment: Experiment, sizes: tuple[int, ...], points: tuple[tuple[Approach, int], ...], num_seeds: int) -> str:
    version, num_runs = experiment.dataset_version, len(points) * num_seeds
    if experiment.curve_of_id:
        return "This is a learning curve itself. Draw one of the comparison that it belongs to."
    if not experiment.finished_at:
        return "The comparison has not ended yet. Its own runs are the last point of every curve, so they come first."
    if not sizes:
        rows = counted(version.split_counts.get(Split.TRAIN, 0), "train row")
        return f"{version} has {rows}. A learning curve needs more than {SIZES[0]}: add labelled rows."
    if not points:
        return "No approach of this comparison learns from train rows, so there is nothing to draw. Compare a tuned approach as well."
    if num_runs > MAX_CURVE_RUNS:
        return f"The curve would take {num_runs:,} runs; {MAX_CURVE_RUNS} are allowed. Compare fewer approaches or seeds."
    return ""


def _seconds(experiment: Experiment, points: Iterable[tuple[Approach, int]], num_seeds: int) -> float | None:
    """Each point takes about what the same approach took on all rows: as many steps, and the same validation rows."""
    taken: dict[Any, list[float]] = {}
    made = Run.objects.filter(approach__experiment=experiment, job__state=JobState.SUCCEEDED)
    # The times alone: a run's whole record holds its curve.
    for approach, training, looking, making, scoring in made.values_list("approach", *TIMES):
        taken.setdefault(approach, []).append(((training or 0) + (looking or 0) or making or 0) + (scoring or 0))
    times = [max(taken.get(approach.pk, [0.0])) for approach, _ in points]
    return sum(times) * num_seeds if times and all(times) else None


def making_seconds(result: dict[str, Any]) -> float:
    """Device seconds that making an approach took, looks at validation rows included."""
    training = result.get("training") or {}
    spent = float(training.get("train_seconds") or 0) + float(training.get("evaluation_seconds") or 0)
    return spent or float((result.get("timings") or {}).get("train") or 0)


def is_written(approach: Approach) -> bool:
    """Whether it is a prompt that people wrote, which no number of train rows changes."""
    return approach.family in (Family.ENGINEERED, Family.HOSTED) and approach.method == "hard_prompt"

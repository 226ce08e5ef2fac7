"""The comparison of approaches on the same rows: rates, differences, and what may honestly be said about them.

Knows answers, not models or pages; no Django. The unit is an artifact, one approach with one seed. Of an approach with
several seeds the one best on validation stands for it; choosing by the compared rows would flatter it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from experiments.evidence.confusion import Confusion, confusion_build, macro_f1, macro_f1_draws, percentile_estimate
from experiments.evidence.contenders import BadComparison, Contender, Settings, check_contenders, choose_seed
from experiments.evidence.pairing import Difference, MacroF1, MethodClaim, differences, method_claims
from experiments.evidence.rates import Estimate, Rate, Spread, seed_spread, wilson_rate
from experiments.evidence.verdicts import headline_sentence

__all__ = [
    "ApproachResult",
    "ArtifactResult",
    "BadComparison",
    "Comparison",
    "Contender",
    "Difference",
    "MethodClaim",
    "Settings",
    "choose_seed",
    "comparison_build",
]

SIGNATURE = "accuracy: correct / all rows, Wilson; pairs: McNemar mid-p, Holm, Bonett-Price; macro-F1: labels in the rows, bootstrap"


@dataclass(frozen=True)
class ArtifactResult:
    """One artifact's figures. accuracy counts all rows; coverage is the share of rows with an answer."""

    approach: str
    seed: int
    accuracy: Rate
    coverage: float
    num_errors: int
    num_skipped: int
    validation_accuracy: float | None


@dataclass(frozen=True)
class ApproachResult:
    """One approach: the artifact that stands for it, all of its seeds and their spread.

    macro_f1 and confusion belong to the chosen seed and are None where answers are free text.
    """

    approach: str
    name: str
    chosen_seed: int
    chosen_because: str
    chosen: ArtifactResult
    artifacts: tuple[ArtifactResult, ...]
    spread: Spread
    macro_f1: Estimate | None
    confusion: Confusion | None


@dataclass(frozen=True)
class Comparison:
    """Everything a page or report shows about one split, ready to be stored as JSON. equals: not detectably different from the best."""

    n: int
    labels: tuple[str, ...]
    baseline: str | None
    best: str
    equals: tuple[str, ...]
    settings: Settings
    approaches: tuple[ApproachResult, ...]
    against_baseline: tuple[Difference, ...]
    against_best: tuple[Difference, ...]
    methods: tuple[MethodClaim, ...]
    headline: str
    signature: str = SIGNATURE

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return asdict(self)


def comparison_build(
    *,
    expected: Sequence[str],
    labels: Sequence[str],
    contenders: Sequence[Contender],
    baseline: str | None = None,
    settings: Settings | None = None,
    costs: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare artifacts that answered the same rows.

    Args:
        expected: the label or reference text of each row.
        labels: all labels of the data; empty when answers are free text.
        baseline: the approach that the others are compared with; None to compare with the best only.
        costs: {approach: what a request costs}, where that is known: of approaches that are right as often the cheapest is the best.
    Raises:
        BadComparison: no rows, no contender, answers that do not fit the rows, or an unknown baseline.
    """
    settings = settings or Settings()
    check_contenders(expected, labels, contenders, baseline)
    seeds = _by_approach(contenders)
    chosen = {approach: choose_seed(group) for approach, group in seeds.items()}
    confusions = {key: confusion_build(expected, one.predicted, labels) for key, one in chosen.items()} if labels else {}
    scores = _macro_f1(expected, chosen, confusions, labels, settings)
    approaches = {key: _approach_result(chosen[key], group, confusions.get(key), scores.get(key), settings) for key, group in seeds.items()}
    best = _best(list(approaches.values()), costs or {})
    against_best = differences(chosen, best, settings, scores)
    equals = tuple(pair.approach for pair in against_best if pair.verdict == "no detectable difference")
    return Comparison(
        n=len(expected),
        labels=tuple(labels),
        baseline=baseline,
        best=best,
        equals=equals,
        settings=settings,
        approaches=tuple(approaches.values()),
        against_baseline=differences(chosen, baseline, settings, scores) if baseline else (),
        against_best=against_best,
        methods=tuple(method_claims(seeds, baseline, settings)) if baseline else (),
        headline=_headline(approaches, best, equals, settings),
    )


def _best(approaches: Sequence[ApproachResult], costs: Mapping[str, float]) -> str:
    """The approach that is right most often; among equals the cheapest, then the first of the plan. An unknown cost stands last."""
    return min(approaches, key=lambda result: (-result.chosen.accuracy.correct, costs.get(result.approach, inf))).approach


def _headline(approaches: Mapping[str, ApproachResult], best: str, equals: Sequence[str], settings: Settings) -> str:
    names = [approaches[equal].name for equal in equals]
    return headline_sentence(approaches[best].name, approaches[best].chosen.accuracy, level=settings.level, equals=names)


def _macro_f1(
    expected: Sequence[str], chosen: Mapping[str, Contender], confusions: Mapping[str, Confusion], labels: Sequence[str], settings: Settings
) -> dict[str, MacroF1]:
    if not confusions:
        return {}
    answers = [one.predicted for one in chosen.values()]
    draws = macro_f1_draws(expected, answers, labels, resamples=settings.resamples, seed=settings.seed)
    return {key: MacroF1(macro_f1(confusions[key]), drawn) for key, drawn in zip(chosen, draws, strict=True)}


def _by_approach(contenders: Sequence[Contender]) -> dict[str, list[Contender]]:
    groups: dict[str, list[Contender]] = {}
    for one in contenders:
        groups.setdefault(one.approach, []).append(one)
    return groups


def _approach_result(
    chosen: Contender, group: Sequence[Contender], confusion: Confusion | None, score: MacroF1 | None, settings: Settings
) -> ApproachResult:
    results = {one.seed: _artifact_result(one, settings) for one in sorted(group, key=lambda one: one.seed)}
    return ApproachResult(
        approach=chosen.approach,
        name=chosen.name,
        chosen_seed=chosen.seed,
        chosen_because=_choice_reason(group),
        chosen=results[chosen.seed],
        artifacts=tuple(results.values()),
        spread=seed_spread([result.accuracy.value for result in results.values()]),
        macro_f1=percentile_estimate(score.value, score.draws, level=settings.level) if score else None,
        confusion=confusion,
    )


def _choice_reason(group: Sequence[Contender]) -> str:
    if len(group) == 1:
        return "only seed"
    return "best on validation" if any(one.validation_accuracy is not None for one in group) else "lowest seed; validation is not known"


def _artifact_result(one: Contender, settings: Settings) -> ArtifactResult:
    n = len(one.correct)
    return ArtifactResult(
        approach=one.approach,
        seed=one.seed,
        accuracy=wilson_rate(sum(one.correct), n, level=settings.level),
        coverage=sum(answer is not None for answer in one.predicted) / n,
        num_errors=one.num_errors,
        num_skipped=one.num_skipped,
        validation_accuracy=one.validation_accuracy,
    )

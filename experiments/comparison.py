"""The comparison of approaches on the same rows: rates, differences, and what may honestly be said about them.

Knows answers, not models or pages; no Django. The unit is an artifact, one approach with one seed. Of an approach with
several seeds the one best on validation stands for it; choosing by the compared rows would flatter it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from experiments.confusion import Confusion, confusion_build, macro_f1_difference, macro_f1_estimate
from experiments.rates import (
    Estimate,
    Rate,
    Spread,
    holm_adjusted,
    mcnemar_p,
    method_difference,
    paired_difference,
    seed_spread,
    wilson_rate,
)
from experiments.verdicts import difference_sentence, headline_sentence, method_sentence

Verdict = Literal["better", "worse", "no detectable difference"]


class BadComparison(ValueError):
    """The answers cannot be compared; the message is a sentence for a person."""


@dataclass(frozen=True)
class Contender:
    """One artifact's answers on the compared rows, in the order of the rows.

    predicted: the label or text of each row, None where there is no answer (an error or a skipped row).
    correct: whether each row counts as right; a row without an answer never does.
    validation_accuracy: 0 to 1, what the choice among seeds is made by; None when there is only one seed.
    """

    approach: str
    name: str
    seed: int
    predicted: tuple[str | None, ...]
    correct: tuple[bool, ...]
    num_errors: int = 0
    num_skipped: int = 0
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Settings:
    """How sure the statements are. margin: the loss, a share of rows, that still counts as "not worse"."""

    level: float = 0.95
    margin: float = 0.01
    min_seeds: int = 5
    resamples: int = 2_000
    seed: int = 0


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
class Difference:
    """Approach against another on the same rows, by their chosen seeds.

    difference: accuracy of the one minus the other; only_this and only_other: rows that one alone has right.
    p_adjusted: McNemar's p after Holm's correction within `num_compared` pairs. not_worse: the interval excludes a
    loss beyond the margin.
    """

    approach: str
    other: str
    difference: Estimate
    only_this: int
    only_other: int
    p: float
    p_adjusted: float
    num_compared: int
    verdict: Verdict
    not_worse: bool
    macro_f1: Estimate | None
    sentence: str


@dataclass(frozen=True)
class MethodClaim:
    """An approach over its seeds against the baseline: what a team may expect from making it again.

    difference is None with a reason when there are too few seeds for such a claim.
    """

    approach: str
    num_seeds: int
    difference: Estimate
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """Everything a page or report shows about one split, ready to be stored as JSON."""

    n: int
    labels: tuple[str, ...]
    baseline: str | None
    best: str
    settings: Settings
    approaches: tuple[ApproachResult, ...]
    against_baseline: tuple[Difference, ...]
    against_best: tuple[Difference, ...]
    methods: tuple[MethodClaim, ...]
    headline: str
    signature: str = field(
        default="accuracy: correct / all rows, Wilson; pairs: McNemar mid-p, Holm, Bonett-Price; macro-F1: labels in the rows, bootstrap"
    )

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
) -> Comparison:
    """Compare artifacts that answered the same rows.

    Args:
        expected: the label or reference text of each row.
        labels: all labels of the data; empty when answers are free text.
        baseline: the approach that the others are compared with; None to compare with the best only.
    Raises:
        BadComparison: no rows, no contender, answers that do not fit the rows, or an unknown baseline.
    """
    settings = settings or Settings()
    _check(expected, labels, contenders, baseline)
    seeds = _by_approach(contenders)
    chosen = {approach: choose_seed(group) for approach, group in seeds.items()}
    approaches = tuple(_approach_result(chosen[key], group, expected, labels, settings) for key, group in seeds.items())
    best = max(approaches, key=lambda result: result.chosen.accuracy.correct).approach
    classes = (expected, labels) if labels else None
    against_best = _differences(chosen, best, settings, classes=None)
    return Comparison(
        n=len(expected),
        labels=tuple(labels),
        baseline=baseline,
        best=best,
        settings=settings,
        approaches=approaches,
        against_baseline=_differences(chosen, baseline, settings, classes) if baseline else (),
        against_best=against_best,
        methods=tuple(_method_claims(seeds, baseline, settings)) if baseline else (),
        headline=headline_sentence(
            chosen[best].name,
            next(result.chosen.accuracy for result in approaches if result.approach == best),
            level=settings.level,
            equals=[chosen[pair.approach].name for pair in against_best if pair.verdict == "no detectable difference"],
        ),
    )


def choose_seed(group: Sequence[Contender]) -> Contender:
    """The seed that stands for an approach: best on validation, the lowest seed among equals or where nothing is known."""
    return min(group, key=lambda one: (-(one.validation_accuracy if one.validation_accuracy is not None else -1.0), one.seed))


def _check(expected: Sequence[str], labels: Sequence[str], contenders: Sequence[Contender], baseline: str | None) -> None:
    if not expected or not contenders:
        raise BadComparison("There is nothing to compare yet. At least one run must have answered at least one row.")
    if baseline is not None and baseline not in {one.approach for one in contenders}:
        raise BadComparison("The baseline has no answers on these rows. Wait for its run to end, or choose another baseline.")
    if labels and not set(expected) <= set(labels):
        raise BadComparison("A row has a label that is not among the labels of the data version. Compute the comparison from one version.")
    for one in contenders:
        if len(one.predicted) != len(expected) or len(one.correct) != len(expected):
            raise BadComparison(f"“{one.name}” (seed {one.seed}) answered other rows than the rest. Evaluate it on the same split again.")
        if any(right and answer is None for right, answer in zip(one.correct, one.predicted, strict=True)):
            raise BadComparison(f"“{one.name}” (seed {one.seed}) counts a row without an answer as right. Evaluate it again.")
    if len({(one.approach, one.seed) for one in contenders}) < len(contenders):
        raise BadComparison("An approach is listed twice with the same seed. Compare each artifact once.")


def _by_approach(contenders: Sequence[Contender]) -> dict[str, list[Contender]]:
    groups: dict[str, list[Contender]] = {}
    for one in contenders:
        groups.setdefault(one.approach, []).append(one)
    return groups


def _approach_result(
    chosen: Contender, group: Sequence[Contender], expected: Sequence[str], labels: Sequence[str], settings: Settings
) -> ApproachResult:
    results = {one.seed: _artifact_result(one, settings) for one in sorted(group, key=lambda one: one.seed)}
    confusion = confusion_build(expected, chosen.predicted, labels) if labels else None
    return ApproachResult(
        approach=chosen.approach,
        name=chosen.name,
        chosen_seed=chosen.seed,
        chosen_because=_choice_reason(group),
        chosen=results[chosen.seed],
        artifacts=tuple(results.values()),
        spread=seed_spread([result.accuracy.value for result in results.values()]),
        macro_f1=_macro_f1(confusion, settings) if confusion else None,
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


def _macro_f1(confusion: Confusion, settings: Settings) -> Estimate:
    return macro_f1_estimate(confusion, level=settings.level, resamples=settings.resamples, seed=settings.seed)


def _differences(
    chosen: Mapping[str, Contender], other: str, settings: Settings, classes: tuple[Sequence[str], Sequence[str]] | None
) -> tuple[Difference, ...]:
    """Every approach against `other`, one family for Holm's correction. classes: (expected, labels) for macro-F1."""
    pairs = [(one, chosen[other], _discordant(one, chosen[other])) for key, one in chosen.items() if key != other]
    raw = [mcnemar_p(*counts) for _, _, counts in pairs]
    adjusted = holm_adjusted(raw)
    return tuple(
        _difference(one, against, counts, (p, p_adjusted, len(pairs)), settings, classes)
        for (one, against, counts), p, p_adjusted in zip(pairs, raw, adjusted, strict=True)
    )


def _difference(
    one: Contender,
    other: Contender,
    counts: tuple[int, int],
    tested: tuple[float, float, int],
    settings: Settings,
    classes: tuple[Sequence[str], Sequence[str]] | None,
) -> Difference:
    p, p_adjusted, num_compared = tested
    estimate = paired_difference(*counts, len(one.correct), level=settings.level)
    verdict: Verdict = "no detectable difference"
    if p_adjusted < 1 - settings.level:
        verdict = "better" if counts[0] > counts[1] else "worse"
    not_worse = estimate.low is not None and estimate.low > -settings.margin
    macro = None
    if classes:
        expected, labels = classes
        macro = macro_f1_difference(expected, one.predicted, other.predicted, labels, resamples=settings.resamples, seed=settings.seed)
    return Difference(
        approach=one.approach,
        other=other.approach,
        difference=estimate,
        only_this=counts[0],
        only_other=counts[1],
        p=p,
        p_adjusted=p_adjusted,
        num_compared=num_compared,
        verdict=verdict,
        not_worse=not_worse,
        macro_f1=macro,
        sentence=difference_sentence(
            verdict,
            estimate,
            p_adjusted=p_adjusted,
            num_compared=num_compared,
            level=settings.level,
            margin=settings.margin,
            not_worse=not_worse,
        ),
    )


def _discordant(one: Contender, other: Contender) -> tuple[int, int]:
    only_one = sum(a and not b for a, b in zip(one.correct, other.correct, strict=True))
    return only_one, only_one - (sum(one.correct) - sum(other.correct))


def _method_claims(seeds: Mapping[str, Sequence[Contender]], baseline: str, settings: Settings) -> Iterator[MethodClaim]:
    against = seeds[baseline]
    for approach, group in seeds.items():
        if approach == baseline or len(group) == 1:
            continue
        if len(group) < settings.min_seeds or 1 < len(against) < settings.min_seeds:
            too_few = Estimate(None, reason=f"A claim about the method needs {settings.min_seeds} seeds or more.")
            yield MethodClaim(approach, len(group), too_few, str(too_few.reason))
            continue
        estimate = method_difference([one.correct for one in group], [one.correct for one in against], level=settings.level)
        yield MethodClaim(
            approach, len(group), estimate, method_sentence(estimate, num_seeds=len(group), other=against[0].name, level=settings.level)
        )

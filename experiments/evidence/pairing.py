"""Approaches against one another on the same rows: differences, tests with Holm's correction, and claims over seeds. Pure; no Django."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from experiments.evidence.confusion import percentile_estimate
from experiments.evidence.contenders import Contender, Settings
from experiments.evidence.rates import Estimate, holm_adjusted, mcnemar_p, method_difference, paired_difference
from experiments.evidence.verdicts import difference_sentence, method_sentence

if TYPE_CHECKING:
    from experiments.evidence.confusion import Floats

Verdict = Literal["better", "worse", "no detectable difference"]


@dataclass(frozen=True)
class MacroF1:
    """An artifact's macro-F1 with the bootstrap draws that all artifacts share, so that differences are paired."""

    value: float
    draws: "Floats"


@dataclass(frozen=True)
class Tested:
    """A p-value before and after the correction within its family of `num_compared` pairs."""

    p: float
    p_adjusted: float
    num_compared: int


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


def differences(chosen: Mapping[str, Contender], other: str, settings: Settings, macro_f1: Mapping[str, MacroF1]) -> tuple[Difference, ...]:
    """Every approach against `other`, one family for Holm's correction.

    Args:
        chosen: the contender that stands for each approach.
        macro_f1: by approach; empty where answers are free text.
    """
    pairs = [(key, _discordant(one, chosen[other])) for key, one in chosen.items() if key != other]
    raw = [mcnemar_p(*counts) for _, counts in pairs]
    tested = zip(pairs, raw, holm_adjusted(raw), strict=True)
    n = len(chosen[other].correct)
    return tuple(
        _difference(
            key,
            other,
            counts,
            paired_difference(*counts, n, level=settings.level),
            Tested(p, p_adjusted, len(pairs)),
            settings,
            _macro_f1_difference(macro_f1[key], macro_f1[other], settings) if macro_f1 else None,
        )
        for (key, counts), p, p_adjusted in tested
    )


def method_claims(seeds: Mapping[str, Sequence[Contender]], baseline: str, settings: Settings) -> Iterator[MethodClaim]:
    """What may be said about each approach with several seeds, given {approach: its contenders}."""
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


def _difference(
    key: str, other: str, counts: tuple[int, int], estimate: Estimate, tested: Tested, settings: Settings, macro_f1: Estimate | None
) -> Difference:
    verdict: Verdict = "no detectable difference"
    if tested.p_adjusted < 1 - settings.level:
        verdict = "better" if counts[0] > counts[1] else "worse"
    not_worse = estimate.low is not None and estimate.low > -settings.margin
    sentence = difference_sentence(
        verdict,
        estimate,
        p_adjusted=tested.p_adjusted,
        num_compared=tested.num_compared,
        level=settings.level,
        margin=settings.margin if not_worse else None,
    )
    return Difference(
        approach=key,
        other=other,
        difference=estimate,
        only_this=counts[0],
        only_other=counts[1],
        p=tested.p,
        p_adjusted=tested.p_adjusted,
        num_compared=tested.num_compared,
        verdict=verdict,
        not_worse=not_worse,
        macro_f1=macro_f1,
        sentence=sentence,
    )


def _macro_f1_difference(one: MacroF1, other: MacroF1, settings: Settings) -> Estimate:
    return percentile_estimate(one.value - other.value, one.draws - other.draws, level=settings.level)


def _discordant(one: Contender, other: Contender) -> tuple[int, int]:
    only_one = sum(a and not b for a, b in zip(one.correct, other.correct, strict=True))
    return only_one, only_one - (sum(one.correct) - sum(other.correct))

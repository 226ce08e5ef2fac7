"""What a comparison lets a person say: sentences from estimates. Claims no more than the interval and the test allow."""

from collections.abc import Sequence

from experiments.evidence.rates import Estimate, Rate
from experiments.wording import counted, listed, quoted

CORRECTED = (
    "Alone, this interval would count as a difference; among {num} one such finding may be chance, so Holm's correction keeps it open."
)


def difference_sentence(
    verdict: str, estimate: Estimate, *, p_adjusted: float, num_compared: int, level: float, margin: float | None
) -> str:
    """One pair: "Better by 4.2 points (95% interval 1.1 to 7.3, Holm-adjusted p = 0.003)."

    Args:
        margin: the share of rows within which this one is proven not worse; None where it is not proven.
    """
    value, low, high = estimate.value or 0.0, estimate.low or 0.0, estimate.high or 0.0
    p_name = "Holm-adjusted p" if num_compared > 1 else "p"
    evidence = f"{level:.0%} interval {points(low)} to {points(high)}, {p_name} {p_text(p_adjusted)}"
    if verdict == "no detectable difference":
        sentence = f"No detectable difference ({points(value, sign=True)} {_unit(value)}, {evidence})."
        if only_by_correction(verdict, low, high):
            sentence += f" {CORRECTED.format(num=counted(num_compared, 'comparison'))}"
    else:
        sentence = f"{verdict.capitalize()} by {points(abs(value))} {_unit(value)} ({evidence})."
    if margin is not None and verdict != "better":
        sentence += f" Not worse within a margin of {points(margin)} {_unit(margin)}."
    return sentence


def only_by_correction(verdict: str, low: float, high: float) -> bool:
    """Whether the interval alone would tell the two apart, and only the correction for many comparisons keeps the verdict open."""
    return verdict == "no detectable difference" and (low > 0 or high < 0)


def headline_sentence(name: str, accuracy: Rate, *, level: float, equals: Sequence[str]) -> str:
    """The best approach, how sure its rate is, and which others cannot be told apart from it."""
    rate = f"{accuracy.value:.1%} of {counted(accuracy.n, 'row')} right ({level:.0%} interval {accuracy.low:.1%} to {accuracy.high:.1%})"
    if not equals:
        return f"{quoted(name)} is ahead with {rate}."
    verb = "is" if len(equals) == 1 else "are"
    return f"{quoted(name)} has the highest rate with {rate}; {listed(map(quoted, equals))} {verb} not detectably different."


def method_sentence(estimate: Estimate, *, num_seeds: int, other: str, level: float) -> str:
    """A method over its seeds against another approach."""
    value, low, high = estimate.value or 0.0, estimate.low or 0.0, estimate.high or 0.0
    interval = f"{level:.0%} interval {points(low)} to {points(high)}"
    if low <= 0 <= high:
        found = f"no detectable difference from {quoted(other)} on average ({points(value, sign=True)} {_unit(value)}, {interval})"
        return f"Over {num_seeds} seeds, {found}."
    direction = "better" if value > 0 else "worse"
    return f"Over {num_seeds} seeds, on average {points(abs(value))} {_unit(value)} {direction} than {quoted(other)} ({interval})."


def points(share: float, *, sign: bool = False) -> str:
    """A difference of shares in points with one decimal and a true minus sign: "−0.8"."""
    text = f"{abs(share) * 100:.1f}"
    if text == "0.0" or share == 0:
        return "0.0"
    return ("−" if share < 0 else "+" if sign else "") + text


def p_text(p: float) -> str:
    """A p-value as it is read: "= 0.031", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def _unit(share: float) -> str:
    return "point" if f"{abs(share) * 100:.1f}" == "1.0" else "points"

"""What every approach costs at a volume, and from which volume it pays against the baseline. Pure; no Django.

A total is the one-off cost plus serving all requests over the months, on request with the cost of wrong answers. A break-even is
asked at both ends of what was measured, and claims a volume only where both ends agree which approach costs less.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Context, Decimal
from typing import Any, Literal

from experiments.economics import (
    Amount,
    Demand,
    DeviceUse,
    Effort,
    Line,
    Number,
    Prices,
    Use,
    exact,
    fastest,
    mistakes_cost,
    num_replicas,
    one_off_lines,
    request_cost,
    scaled,
    serving_cost,
    slowest,
    total,
)
from experiments.wording import counted, listed

Pays = Literal["from", "until", "always", "never", "sometimes", "equal", "unclear", "unknown"]

# 1, 2, 5, 10, … requests in all, up to a billion.
VOLUMES = (*(digit * 10**power for power in range(9) for digit in (1, 2, 5)), 10**9)
_TWELVE_DIGITS = Context(prec=12)
_NOT_MEASURED = Amount(None, ("what a request uses",))
TOO_CLOSE = "Too close to call: the measurements vary more than the costs differ."
CHEAPER = ("from", "always")
SENSITIVITY = (Decimal("0.5"), Decimal(2))
PRICE_NAMES = {
    "device_hour": "device-hour",
    "input_million_tokens": "input tokens",
    "cached_million_tokens": "cached input tokens",
    "output_million_tokens": "output tokens",
    "labelled_row": "labelled row",
    "person_hour": "person-hour",
    "wrong_answer": "wrong answer",
}


@dataclass(frozen=True)
class Entry:
    """One approach as the ledger sees it.

    use: None where nobody measured it. wrong_share: 0 to 1. wrong_between: its least and most, by the interval of the difference
    to the baseline on the same rows; None where it is the baseline itself.
    """

    approach: str
    name: str
    use: Use | None
    effort: Effort
    wrong_share: float | None = None
    wrong_between: tuple[float, float] | None = None


@dataclass(frozen=True)
class BreakEven:
    """Whether and from which total number of requests an approach is cheaper than the baseline.

    pays: "from" or "until" `requests`; "always", "never", "equal"; "sometimes" when machines kept for the peak make it
    change more than once; "unclear" when the measurements vary more than the costs differ; "unknown" with the reasons in the sentence.
    low, high: the range of `requests` by how much the measurements vary; None where that is not known.
    """

    pays: Pays
    requests: int | None
    sentence: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class Variation:
    """The break-even when one assumption is other than stated, for example half the price of a device-hour."""

    assumption: str
    factor: Decimal
    break_even: BreakEven


@dataclass(frozen=True)
class LedgerRow:
    """One approach's money at the stated volume. Amounts per thousand requests, per month and once.

    amortised_per_thousand spreads the one-off cost over all requests; totals are by VOLUMES. low and high: at the fastest and the
    slowest of `passes` measurements of its speed.
    """

    approach: str
    per_thousand: Amount
    per_thousand_low: Amount
    per_thousand_high: Amount
    passes: int
    mistakes_per_thousand: Amount
    monthly: Amount
    replicas: int | None
    one_off: Amount
    one_off_lines: tuple[Line, ...]
    amortised_per_thousand: Amount
    totals: tuple[Amount, ...]
    break_even: BreakEven | None
    break_even_with_mistakes: BreakEven | None
    sensitivity: tuple[Variation, ...]


@dataclass(frozen=True)
class Ledger:
    """The money of one comparison."""

    prices: Prices
    demand: Demand
    baseline: str | None
    volumes: tuple[int, ...]
    rows: tuple[LedgerRow, ...]

    def to_json(self) -> dict[str, Any]:
        """The ledger as plain JSON values; amounts are text with up to 12 digits."""
        return dict(_plain(asdict(self)))


def ledger_build(*, prices: Prices, demand: Demand, entries: Sequence[Entry], baseline: str | None = None) -> Ledger:
    """The ledger of approaches.

    Args:
        baseline: the approach that the others have to pay against; None leaves break-even out.
    """
    base = next((entry for entry in entries if entry.approach == baseline), None)
    rows = tuple(_ledger_row(entry, base, prices, demand) for entry in entries)
    return Ledger(prices, demand, base.approach if base else None, VOLUMES, rows)


def total_cost(entry: Entry, prices: Prices, demand: Demand, *, with_mistakes: bool = False) -> Amount:
    """One-off cost plus serving the whole demand."""
    return _cost(entry, prices, demand, with_mistakes).at(demand.requests)


@dataclass(frozen=True)
class _Cost:
    """What an approach costs at any volume, its parts priced once: a break-even asks for hundreds of volumes.

    machines: what serving costs where machines are kept for the peak, whose number comes in steps; else None.
    """

    once: Amount
    per_request: Amount
    machines: Callable[[Number], Amount] | None = None

    def at(self, requests: Number) -> Amount:
        """The total for so many requests."""
        steps = [self.machines(requests)] if self.machines else []
        return total([self.once, *steps, scaled(self.per_request, requests)])


def _cost(entry: Entry, prices: Prices, demand: Demand, with_mistakes: bool) -> _Cost:
    mistakes = [mistakes_cost(entry.wrong_share, prices)] if with_mistakes else []
    if entry.use and demand.reserved and isinstance(entry.use, DeviceUse):
        return _Cost(_one_off(entry, prices), total(mistakes), lambda requests: _serving(entry, prices, replace(demand, requests=requests)))
    request = request_cost(entry.use, prices) if entry.use else _NOT_MEASURED
    return _Cost(_one_off(entry, prices), total([request, *mistakes]))


def break_even(entry: Entry, base: Entry, prices: Prices, demand: Demand, *, with_mistakes: bool = False) -> BreakEven:
    """From which total number of requests on the approach costs less than the baseline.

    Both totals are compared over VOLUMES; the change between two of them is then found by bisection, exact to one request.
    """
    ours, theirs = (_cost(one, prices, demand, with_mistakes) for one in (entry, base))

    def saving(requests: int) -> Decimal | None:
        ours_then, theirs_then = ours.at(requests).value, theirs.at(requests).value
        return None if ours_then is None or theirs_then is None else theirs_then - ours_then

    savings = [saving(volume) for volume in VOLUMES]
    known = [value for value in savings if value is not None]
    if len(known) < len(savings):
        return _unknown(entry, base, prices, demand, with_mistakes)
    return _break_even_of(known, lambda requests: saving(requests) or Decimal(0))


def likely_break_even(entry: Entry, base: Entry, prices: Prices, demand: Demand, *, with_mistakes: bool = False) -> BreakEven:
    """The break-even with its range: asked again where the measurements help the approach most, and where they harm it most."""
    stated = break_even(entry, base, prices, demand, with_mistakes=with_mistakes)
    best = break_even(_helped(entry), _harmed(base), prices, demand, with_mistakes=with_mistakes)
    worst = break_even(_harmed(entry), _helped(base), prices, demand, with_mistakes=with_mistakes)
    once = by_one_measurement(_is_measured_once(entry), _is_measured_once(base))
    if "unknown" in (stated.pays, best.pays, worst.pays):
        return stated
    if best == worst:
        return _qualified(stated, once)
    if (best.pays in CHEAPER) != (worst.pays in CHEAPER):
        return BreakEven("unclear", None, TOO_CLOSE)
    if stated.requests is None or best.requests is None or worst.requests is None:
        return _qualified(stated, once)
    low, high = sorted((best.requests, worst.requests))
    between = f"between {low:,} and {high:,}, as far as the measurements vary"
    return replace(_qualified(stated, between, once), low=low, high=high)


def by_one_measurement(its: bool, the_baselines: bool) -> str:
    """Whose speed was measured only once, so that nobody knows how much it varies; empty where it was nobody's."""
    whose = ["its"] * its + ["the baseline's"] * the_baselines
    return f"by one measurement {'each ' if len(whose) > 1 else ''}of {listed(whose)} speed" if whose else ""


def _is_measured_once(entry: Entry) -> bool:
    return isinstance(entry.use, DeviceUse) and len(entry.use.passes) == 1


def _qualified(found: BreakEven, *notes: str) -> BreakEven:
    """The break-even with what qualifies it in brackets at the end of its sentence."""
    words = "; ".join(filter(None, notes))
    return replace(found, sentence=f"{found.sentence.removesuffix('.')} ({words}).") if words else found


def _helped(entry: Entry) -> Entry:
    least = entry.wrong_between[0] if entry.wrong_between else entry.wrong_share
    return replace(entry, use=fastest(entry.use) if entry.use else None, wrong_share=least)


def _harmed(entry: Entry) -> Entry:
    most = entry.wrong_between[1] if entry.wrong_between else entry.wrong_share
    return replace(entry, use=slowest(entry.use) if entry.use else None, wrong_share=most)


def _break_even_of(savings: Sequence[Decimal], saving: Callable[[int], Decimal]) -> BreakEven:
    pays = [value > 0 for value in savings]
    changes = [at for at in range(1, len(pays)) if pays[at] != pays[at - 1]]
    if not changes:
        if not any(savings):
            return BreakEven("equal", None, "Costs the same at every volume.")
        if pays[0]:
            return BreakEven("always", None, "Costs less at every volume.")
        return BreakEven("never", None, f"Does not cost less at any volume up to {VOLUMES[-1]:,} requests.")
    first = _first_change(VOLUMES[changes[0] - 1], VOLUMES[changes[0]], saving)
    if len(changes) > 1:
        return BreakEven("sometimes", first, f"Costs less at some volumes, first at {counted(first, 'request')}; see the chart.")
    if pays[-1]:
        return BreakEven("from", first, f"Costs less from {counted(first, 'request')} on.")
    return BreakEven("until", first - 1, f"Costs less up to {counted(first - 1, 'request')}.")


def _first_change(below: int, above: int, saving: Callable[[int], Decimal]) -> int:
    """The smallest volume above `below` on the other side of the break-even, which lies between the two."""
    side = saving(above) > 0
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if (saving(middle) > 0) == side else (middle, above)
    return above


def _unknown(entry: Entry, base: Entry, prices: Prices, demand: Demand, with_mistakes: bool) -> BreakEven:
    costs = total(total_cost(one, prices, demand, with_mistakes=with_mistakes) for one in (entry, base))
    return BreakEven("unknown", None, f"Unknown: {listed(costs.unknown)} {'is' if len(costs.unknown) == 1 else 'are'} missing.")


def _ledger_row(entry: Entry, base: Entry | None, prices: Prices, demand: Demand) -> LedgerRow:
    serving, cost = _serving(entry, prices, demand), _cost(entry, prices, demand, with_mistakes=False)
    against = base if base and base.approach != entry.approach else None
    return LedgerRow(
        approach=entry.approach,
        per_thousand=_divided(serving, demand.requests, 1_000),
        per_thousand_low=_divided(_serving(_helped(entry), prices, demand), demand.requests, 1_000),
        per_thousand_high=_divided(_serving(_harmed(entry), prices, demand), demand.requests, 1_000),
        passes=len(entry.use.passes) if isinstance(entry.use, DeviceUse) else 0,
        mistakes_per_thousand=scaled(mistakes_cost(entry.wrong_share, prices), 1_000),
        monthly=_divided(serving, demand.months),
        replicas=num_replicas(entry.use, demand) if isinstance(entry.use, DeviceUse) else None,
        one_off=_one_off(entry, prices),
        one_off_lines=one_off_lines(entry.effort, prices),
        amortised_per_thousand=_divided(cost.at(demand.requests), demand.requests, 1_000),
        totals=tuple(map(cost.at, VOLUMES)),
        break_even=likely_break_even(entry, against, prices, demand) if against else None,
        break_even_with_mistakes=likely_break_even(entry, against, prices, demand, with_mistakes=True) if against else None,
        sensitivity=_sensitivity(entry, against, prices, demand) if against else (),
    )


def _sensitivity(entry: Entry, base: Entry, prices: Prices, demand: Demand) -> tuple[Variation, ...]:
    """The break-even with each known price halved and doubled, where that changes it; wrong answers stay out of it."""
    stated = break_even(entry, base, prices, demand)
    variations = []
    for field, name in PRICE_NAMES.items():
        price = getattr(prices, field)
        for factor in SENSITIVITY if price else ():
            other = break_even(entry, base, replace(prices, **{field: price * factor}), demand)
            if other != stated:
                variations.append(Variation(f"price of a {name}" if "tokens" not in name else f"price of {name}", factor, other))
    return tuple(variations)


def _one_off(entry: Entry, prices: Prices) -> Amount:
    return total(line.amount for line in one_off_lines(entry.effort, prices))


def _serving(entry: Entry, prices: Prices, demand: Demand) -> Amount:
    return serving_cost(entry.use, prices, demand) if entry.use else _NOT_MEASURED


def _divided(amount: Amount, by: Number, times: int = 1) -> Amount:
    return amount if amount.value is None else Amount(amount.value * times / exact(by))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return format(value.normalize(_TWELVE_DIGITS), "f") if isinstance(value, Decimal) else value

"""One ledger for money: tokens, device time, labels and people's hours become amounts in one currency. Pure; no Django.

A price or a quantity that is not known makes every amount that needs it unknown (None with the reason), never zero. What
is not used needs no price. Device time is billed once: by the second, or as machines kept for the peak, not both.
Virtual tokens have no token price: they cost device time like any position, and that is in the throughput.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

SECONDS_PER_HOUR = 3_600
HOURS_PER_MONTH = Decimal("730.5")  # a twelfth of 365.25 days
MILLION = 1_000_000

Number = int | float | Decimal


@dataclass(frozen=True)
class Amount:
    """Money, or None and what would have to be known."""

    value: Decimal | None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prices:
    """What things cost in one currency; None is unknown.

    device_hour is one machine or accelerator; the token prices are for a million billed tokens of a hosted model.
    """

    currency: str = "USD"
    device_hour: Decimal | None = None
    input_million_tokens: Decimal | None = None
    cached_million_tokens: Decimal | None = None
    output_million_tokens: Decimal | None = None
    wrong_answer: Decimal | None = None
    labelled_row: Decimal | None = None
    person_hour: Decimal | None = None


@dataclass(frozen=True)
class TokenUse:
    """What a hosted model bills for one request, on average: tokens by kind, cached ones apart from the other input."""

    input_tokens: Number | None
    output_tokens: Number | None
    cached_tokens: Number | None = 0


@dataclass(frozen=True)
class DeviceUse:
    """What one machine of the team's own does: requests per second, measured under load.

    passes: every such measurement that there is; fewer than two tell nothing about how much they vary.
    """

    requests_per_second: Number | None
    passes: tuple[Number, ...] = ()


Use = TokenUse | DeviceUse


@dataclass(frozen=True)
class Effort:
    """What making an approach took, once. None is unknown.

    device_seconds: training and search together; hosted tokens: what a search on a hosted model was billed;
    labelled_rows: rows labelled for this approach; person_hours: writing and judging prompts.
    """

    device_seconds: Number | None = 0
    labelled_rows: Number | None = 0
    person_hours: Number | None = 0
    hosted: TokenUse | None = None


@dataclass(frozen=True)
class Demand:
    """How much is asked of an endpoint: `requests` in all, evenly over `months`, which also spread the one-off cost.

    peak_factor: the busiest second against the average one. reserved: own machines run around the clock for the peak;
    otherwise only used seconds are paid.
    """

    requests: Number = 1_200_000
    months: Number = 12
    peak_factor: Number = 4
    reserved: bool = False

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) and number > 0 for number in (self.requests, self.months, self.peak_factor)):
            raise ValueError("Requests, months and the peak factor must be numbers above zero.")

    @classmethod
    def of_month(cls, requests: Number, *, months: int = 12, peak_factor: Number = 4, reserved: bool = False) -> "Demand":
        """The demand of so many requests a month."""
        return cls(exact(requests) * months, months, peak_factor, reserved)

    @property
    def average_per_second(self) -> Decimal:
        """Requests in an average second."""
        return exact(self.requests) / (exact(self.months) * HOURS_PER_MONTH * SECONDS_PER_HOUR)


@dataclass(frozen=True)
class Line:
    """One line of a bill: what, how much of it, in which unit, at which price, and the amount."""

    name: str
    quantity: Decimal | None
    unit: str
    price: Decimal | None
    amount: Amount


def one_off_lines(effort: Effort, prices: Prices) -> tuple[Line, ...]:
    """What making an approach cost, line by line; lines of nothing are left out."""
    hours = None if effort.device_seconds is None else exact(effort.device_seconds) / SECONDS_PER_HOUR
    hosted = token_lines(effort.hosted, prices) if effort.hosted else ()
    lines = (
        bill_line("Training and search", hours, "device-hour", prices.device_hour),
        bill_line("Labelling", effort.labelled_rows, "row", prices.labelled_row),
        bill_line("Writing prompts", effort.person_hours, "person-hour", prices.person_hour),
        *hosted,
    )
    return tuple(line for line in lines if line.quantity != 0)


def token_lines(use: TokenUse, prices: Prices) -> tuple[Line, ...]:
    """What billed tokens cost, line by line."""
    kinds = (
        ("input", use.input_tokens, prices.input_million_tokens),
        ("cached input", use.cached_tokens, prices.cached_million_tokens),
        ("output", use.output_tokens, prices.output_million_tokens),
    )
    return tuple(
        bill_line(
            f"{kind.capitalize()} tokens",
            _per_million(tokens),
            f"million {kind} tokens",
            price,
            unknown_quantity=f"the number of {kind} tokens",
        )
        for kind, tokens, price in kinds
    )


def request_cost(use: Use, prices: Prices) -> Amount:
    """One request, paid by its tokens or by its seconds on a machine that other requests use too."""
    if isinstance(use, TokenUse):
        return total(line.amount for line in token_lines(use, prices))
    rate = _rate(use)
    if rate is None:
        return Amount(None, ("the measured throughput",))
    return bill_line("Device time", 1 / (rate * SECONDS_PER_HOUR), "device-hour", prices.device_hour).amount


def slowest(use: Use) -> Use:
    """The use at its slowest pass; as it is where fewer than two were measured."""
    return replace(use, requests_per_second=min(use.passes)) if isinstance(use, DeviceUse) and len(use.passes) > 1 else use


def fastest(use: Use) -> Use:
    """The use at its fastest pass; as it is where fewer than two were measured."""
    return replace(use, requests_per_second=max(use.passes)) if isinstance(use, DeviceUse) and len(use.passes) > 1 else use


def num_replicas(use: DeviceUse, demand: Demand) -> int | None:
    """Machines that carry the peak; None when the throughput is not known."""
    rate = _rate(use)
    if rate is None:
        return None
    return max(1, math.ceil(demand.average_per_second * exact(demand.peak_factor) / rate))


def serving_cost(use: Use, prices: Prices, demand: Demand) -> Amount:
    """All requests of a demand: machines kept for the peak when they are reserved, else the requests one by one."""
    if not (isinstance(use, DeviceUse) and demand.reserved):
        return scaled(request_cost(use, prices), demand.requests)
    replicas = num_replicas(use, demand)
    if replicas is None:
        return Amount(None, ("the measured throughput",))
    hours = replicas * HOURS_PER_MONTH * exact(demand.months)
    return bill_line("Machines", hours, "device-hour", prices.device_hour).amount


def mistakes_cost(wrong_share: Number | None, prices: Prices) -> Amount:
    """What wrong answers cost for one request, on average. wrong_share: 0 to 1, None when unknown."""
    return bill_line("Wrong answers", wrong_share, "wrong answer", prices.wrong_answer, unknown_quantity="the accuracy").amount


def bill_line(name: str, quantity: Number | None, unit: str, price: Decimal | None, *, unknown_quantity: str = "") -> Line:
    """A line of a bill. Nothing of something costs nothing, whatever its price."""
    count = None if quantity is None else exact(quantity)
    if count == 0:
        return Line(name, count, unit, price, Amount(Decimal(0)))
    if count is not None and price is not None:
        return Line(name, count, unit, price, Amount(count * price))
    missing = [unknown_quantity or f"the number of {unit}s"] * (count is None) + [f"the price of a {unit}"] * (price is None)
    return Line(name, count, unit, price, Amount(None, tuple(missing)))


def total(amounts: Iterable[Amount]) -> Amount:
    """The sum; unknown when a part is, with everything that is missing named once."""
    parts = list(amounts)
    unknown = tuple(dict.fromkeys(reason for part in parts for reason in part.unknown))
    if unknown:
        return Amount(None, unknown)
    return Amount(sum((part.value for part in parts if part.value is not None), Decimal(0)))


def scaled(amount: Amount, factor: Number) -> Amount:
    """An amount times a number."""
    return amount if amount.value is None else Amount(amount.value * exact(factor))


def exact(number: Number) -> Decimal:
    """The number as it is written; a float keeps its shortest digits, so that 0.1 is a tenth."""
    return number if isinstance(number, Decimal) else Decimal(str(number))


def _rate(use: DeviceUse) -> Decimal | None:
    """Requests per second; a rate of zero or no number is no measurement."""
    known = use.requests_per_second
    return exact(known) if known is not None and math.isfinite(known) and known > 0 else None


def _per_million(tokens: Number | None) -> Decimal | None:
    return None if tokens is None else exact(tokens) / MILLION

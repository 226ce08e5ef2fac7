"""The money of a comparison: prices, demand and what each approach was measured to use, handed to the ledger. Reads no rows of data."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.economics import Amount, Demand, DeviceUse, Effort, Prices, TokenUse, Use, one_off_lines, request_cost, total
from experiments.ledger import Entry, Ledger, LedgerRow, ledger_build
from experiments.models import Experiment, PriceBook
from experiments.models.comparisons import Family
from experiments.wording import listed

PRICE_FIELDS = ("device_hour", "input_million_tokens", "output_million_tokens", "wrong_answer", "labelled_row", "person_hour")
NO_PRICES = "no price book was chosen"


def costs_table(
    experiment: Experiment, rows: Sequence[Mapping[str, Any]], efforts: Mapping[str, Effort], baseline: str | None
) -> dict[str, Any]:
    """The ledger of a table's rows as JSON values, with the prices and the volume that it assumes.

    Args:
        efforts: {approach: what making it took, looks at validation rows included}.
    """
    book = experiment.price_book
    prices = _prices(book)
    wrong = next((1 - row["accuracy"] for row in rows if row["approach"] == baseline), None)
    entries = [_entry(row, efforts.get(row["approach"], Effort()), wrong) for row in rows]
    ledger = ledger_build(prices=prices, demand=Demand.of_month(experiment.monthly_requests), entries=entries, baseline=baseline)
    return {**ledger.to_json(), "book": _book(book), "costs": {row.approach: _cost(row, ledger, book) for row in ledger.rows}}


def cost_of_request(book: PriceBook | None, row: Mapping[str, Any]) -> float | None:
    """What one request of an approach costs; None where a price or a measurement is missing."""
    cost = request_cost(_use(row), _prices(book)).value
    return None if cost is None else float(cost)


def making_cost(book: PriceBook | None, *, device_seconds: float, labelled_rows: int) -> Amount:
    """What making an approach once costs: its time on a device and the rows that people labelled for it."""
    return total(line.amount for line in one_off_lines(Effort(device_seconds, labelled_rows), _prices(book)))


def _prices(book: PriceBook | None) -> Prices:
    if book is None:
        return Prices()
    return Prices(currency=book.currency, **{field: getattr(book, field) for field in PRICE_FIELDS})


def _use(row: Mapping[str, Any]) -> Use:
    """What a request uses: tokens of an endpoint, else time of a device."""
    tokens = row.get("tokens") or {}
    if row.get("family") == Family.HOSTED:
        return TokenUse(tokens.get("billed_input"), tokens.get("billed_output"))
    return DeviceUse(row.get("rows_per_second"), tuple(row.get("speeds") or ()))


def _entry(row: Mapping[str, Any], effort: Effort, wrong_of_baseline: float | None) -> Entry:
    between = _wrong_between(row.get("delta"), wrong_of_baseline)
    return Entry(row["approach"], row["name"], _use(row), effort, wrong_share=1 - row["accuracy"], wrong_between=between)


def _wrong_between(delta: Mapping[str, Any] | None, wrong_of_baseline: float | None) -> tuple[float, float] | None:
    """The least and most share of wrong answers, the baseline's held as it is: the two answered the same rows, so they vary together."""
    if not delta or wrong_of_baseline is None:
        return None
    return max(0.0, wrong_of_baseline - delta["high"]), min(1.0, wrong_of_baseline - delta["low"])


def _cost(row: LedgerRow, ledger: Ledger, book: PriceBook | None) -> dict[str, Any]:
    unknown = row.per_thousand.unknown
    reason = "" if not unknown else NO_PRICES if book is None else f"{listed(unknown)} is missing"
    amounts = {"per_thousand": row.per_thousand, "low": row.per_thousand_low, "high": row.per_thousand_high}
    written = {name: None if amount.value is None else f"{amount.value:.9f}" for name, amount in amounts.items()}
    return {**written, "passes": row.passes, "currency": ledger.prices.currency, "reason": reason}


def _book(book: PriceBook | None) -> dict[str, Any] | None:
    if book is None:
        return None
    known = {field: format(value.normalize(), "f") for field in PRICE_FIELDS if (value := getattr(book, field)) is not None}
    return {"name": book.name, "currency": book.currency, "effective_on": book.effective_on.isoformat(), "prices": known}

"""The money of a comparison: prices, demand and what each approach was measured to use, handed to the ledger. Reads no rows of data."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from experiments.economics import Amount, Demand, DeviceUse, Effort, Prices, TokenUse, one_off_lines, total
from experiments.ledger import Entry, Ledger, ledger_build
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
    entries = [_entry(row, efforts.get(row["approach"], Effort())) for row in rows]
    ledger = ledger_build(prices=prices, demand=Demand.of_month(experiment.monthly_requests), entries=entries, baseline=baseline)
    return {**ledger.to_json(), "book": _book(book), "costs": {row.approach: _cost(row.per_thousand, ledger, book) for row in ledger.rows}}


def making_cost(book: PriceBook | None, *, device_seconds: float, labelled_rows: int) -> Amount:
    """What making an approach once costs: its time on a device and the rows that people labelled for it."""
    return total(line.amount for line in one_off_lines(Effort(device_seconds, labelled_rows), _prices(book)))


def _prices(book: PriceBook | None) -> Prices:
    if book is None:
        return Prices()
    return Prices(currency=book.currency, **{field: getattr(book, field) for field in PRICE_FIELDS})


def _entry(row: Mapping[str, Any], effort: Effort) -> Entry:
    tokens = row.get("tokens") or {}
    is_hosted = row.get("family") == Family.HOSTED
    use = TokenUse(tokens.get("billed_input"), tokens.get("billed_output")) if is_hosted else DeviceUse(row.get("rows_per_second"))
    return Entry(row["approach"], row["name"], use, effort, wrong_share=1 - row["accuracy"])


def _cost(per_thousand: Any, ledger: Ledger, book: PriceBook | None) -> dict[str, Any]:
    value: Decimal | None = per_thousand.value
    reason = "" if value is not None else NO_PRICES if book is None else f"{listed(per_thousand.unknown)} is missing"
    return {"per_thousand": None if value is None else f"{value:.6f}", "currency": ledger.prices.currency, "reason": reason}


def _book(book: PriceBook | None) -> dict[str, Any] | None:
    if book is None:
        return None
    known = {field: format(value.normalize(), "f") for field in PRICE_FIELDS if (value := getattr(book, field)) is not None}
    return {"name": book.name, "currency": book.currency, "effective_on": book.effective_on.isoformat(), "prices": known}

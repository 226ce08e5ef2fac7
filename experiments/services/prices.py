"""Dated prices: made once, never edited, thrown away only while nothing rests on them. An empty price is unknown, never zero."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from django.db import transaction
from django.db.models import ProtectedError

from experiments.errors import UserError
from experiments.models import PriceBook, User, Workspace
from experiments.services.audit import audit_record

PRICES = ("device_hour", "input_million_tokens", "output_million_tokens", "wrong_answer", "labelled_row", "person_hour")


def price_book_create(
    *, workspace: Workspace, name: str, currency: str, effective_on: date, prices: Mapping[str, Decimal | None], by: User | None
) -> PriceBook:
    """Write down what things cost from a day on.

    Args:
        prices: any of PRICES; one that is missing or None is unknown.

    Raises:
        UserError: a price is negative, or the currency is no code.
        ValidationError: a price has too many digits.
    """
    known = {field: prices.get(field) for field in PRICES}
    book = PriceBook(workspace=workspace, name=name, currency=currency.upper(), effective_on=effective_on, created_by=by, **known)
    _check(book)
    with transaction.atomic():
        book.save(force_insert=True)
        audit_record(by=by, verb="created", target=book, workspace=workspace)
    return book


def price_book_delete(*, book: PriceBook, by: User | None) -> None:
    """Throw an unused price book away.

    Raises:
        UserError: a comparison rests on it.
    """
    try:
        with transaction.atomic():
            audit_record(by=by, verb="deleted", target=book, workspace=book.workspace)
            book.delete()
    except ProtectedError as error:
        raise UserError("A comparison rests on these prices, so they stay as they are. Make a new price book instead.") from error


def _check(book: PriceBook) -> None:
    if len(book.currency) != 3 or not book.currency.isascii() or not book.currency.isalpha():
        raise UserError("The currency is a code of three letters, such as USD or EUR.")
    for field in PRICES:
        price: Decimal | None = getattr(book, field)
        if price is not None and (not price.is_finite() or price < 0):
            raise UserError("A price is zero or more; leave it empty when it is not known.")
    book.full_clean(exclude=["workspace", "created_by"])

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from experiments.errors import UserError
from experiments.models import PriceBook
from experiments.services.prices import price_book_create, price_book_delete
from tests.factories import make_experiment


def make_book(workspace, alice, **changes):
    typed: dict[str, Any] = {
        "name": "2026",
        "currency": "usd",
        "effective_on": date(2026, 1, 1),
        "prices": {"device_hour": Decimal("0.5")},
    } | changes
    return price_book_create(workspace=workspace, by=alice, **typed)


def test_price_that_is_not_given_stays_unknown_and_is_never_zero(workspace, alice):
    book = make_book(workspace, alice)

    assert (book.device_hour, book.wrong_answer, book.currency) == (Decimal("0.5"), None, "USD")


def test_zero_is_a_price(workspace, alice):
    assert make_book(workspace, alice, prices={"device_hour": Decimal(0)}).device_hour == 0


@pytest.mark.parametrize("price", [Decimal(-1), Decimal("NaN"), Decimal("Infinity")])
def test_impossible_prices_are_refused(workspace, alice, price):
    with pytest.raises(UserError, match="zero or more"):
        make_book(workspace, alice, prices={"device_hour": price})


def test_price_with_more_digits_than_are_kept_is_refused(workspace, alice):
    with pytest.raises(ValidationError):
        make_book(workspace, alice, prices={"device_hour": Decimal("1e12")})


@pytest.mark.parametrize("currency", ["", "DOLLAR", "U$D", "€€€"])
def test_currency_is_a_code(workspace, alice, currency):
    with pytest.raises(UserError, match="three letters"):
        make_book(workspace, alice, currency=currency)


def test_prices_in_use_stay(workspace, alice):
    book = make_book(workspace, alice)
    make_experiment(workspace, price_book=book)

    with pytest.raises(UserError, match="rests on"):
        price_book_delete(book=book, by=alice)

    assert PriceBook.objects.filter(pk=book.pk).exists()


def test_unused_prices_can_be_thrown_away(workspace, alice):
    price_book_delete(book=make_book(workspace, alice), by=alice)

    assert not PriceBook.objects.exists()

"""Break-even and totals over volumes, against the closed form."""

import json
import random
from dataclasses import replace
from decimal import Decimal

import pytest

from experiments.economics import Demand, DeviceUse, Effort, Prices, TokenUse
from experiments.ledger import VOLUMES, Entry, break_even, ledger_build, total_cost

PRICES = Prices(device_hour=Decimal("3.60"), input_million_tokens=Decimal(2), output_million_tokens=Decimal(8), person_hour=Decimal(60))
DEMAND = Demand.of_month(100_000)


def entry(approach, *, tokens=None, rate=None, seconds=0, hours=0, wrong=None):
    use = TokenUse(tokens, 0) if tokens is not None else DeviceUse(rate)
    return Entry(approach, approach.title(), use, Effort(device_seconds=seconds, person_hours=hours), wrong)


def test_tuning_pays_from_the_volume_where_its_cost_is_saved():
    base, tuned = entry("base", tokens=1_000), entry("tuned", tokens=100, seconds=3_600_000)

    result = break_even(tuned, base, PRICES, DEMAND)

    # 3,600 once against 0.0018 less for each request.
    assert (result.pays, result.requests) == ("from", 2_000_001)
    assert result.sentence == "Costs less from 2,000,001 requests on."


def test_break_even_equals_the_closed_form_for_random_costs():
    generator = random.Random(4)
    for _ in range(60):
        base = entry("base", tokens=generator.randint(500, 5_000), hours=generator.randint(0, 5))
        tuned = entry("tuned", tokens=generator.randint(1, 499), seconds=generator.randint(1, 10**6), hours=5)
        once_base, once_tuned = (total_cost(one, PRICES, replace(DEMAND, requests=1)).value for one in (base, tuned))
        assert once_base is not None
        assert once_tuned is not None
        saved_each = Decimal(base.use.input_tokens - tuned.use.input_tokens) * 2 / 10**6
        exact = int((once_tuned - once_base + saved_each) / saved_each) + 1

        assert break_even(tuned, base, PRICES, DEMAND).requests == exact


def test_the_written_prompt_pays_until_the_same_volume():
    base, tuned = entry("base", tokens=1_000), entry("tuned", tokens=100, seconds=3_600_000)

    result = break_even(base, tuned, PRICES, DEMAND)

    assert (result.pays, result.requests) == ("until", 1_999_999)


@pytest.mark.parametrize(
    ("base", "other", "pays"),
    [
        (entry("base", tokens=1_000), entry("other", tokens=100), "always"),
        (entry("base", tokens=100), entry("other", tokens=1_000), "never"),
        (entry("base", tokens=100), entry("other", tokens=100, hours=1), "never"),
        (entry("base", tokens=100), entry("other", tokens=100), "equal"),
    ],
)
def test_other_cases_are_named(base, other, pays):
    assert break_even(other, base, PRICES, DEMAND).pays == pays


def test_an_unknown_price_makes_the_break_even_unknown_and_says_what_is_missing():
    result = break_even(entry("other", rate=10), entry("base", tokens=1), Prices(input_million_tokens=Decimal(2)), DEMAND)

    assert (result.pays, result.requests) == ("unknown", None)
    assert result.sentence == "Unknown: the price of a device-hour is missing."


def test_wrong_answers_move_the_break_even():
    prices = Prices(device_hour=Decimal("3.60"), input_million_tokens=Decimal(2), wrong_answer=Decimal("0.01"))
    base, tuned = entry("base", tokens=1_000, wrong=0.4), entry("tuned", tokens=100, seconds=3_600_000, wrong=0.1)

    counted = break_even(tuned, base, prices, DEMAND, with_mistakes=True).requests
    left_out = break_even(tuned, base, prices, DEMAND).requests
    assert counted is not None
    assert left_out is not None
    assert counted < left_out


def test_machines_kept_for_the_peak_come_in_steps():
    base, own = entry("base", tokens=1_000), entry("own", rate=50)
    reserved = Demand(months=1, peak_factor=1, reserved=True)

    # One machine costs 730.5 x 3.60 = 2,629.80 a month; the tokens pass that at 1,314,900 requests.
    assert break_even(own, base, PRICES, reserved).requests == 1_314_901


def test_a_row_shows_cost_per_thousand_month_and_amortised():
    ledger = ledger_build(
        prices=PRICES,
        demand=DEMAND,
        entries=[entry("base", tokens=1_000), entry("tuned", rate=10, seconds=3_600)],
        baseline="base",
    )

    base, tuned = ledger.rows
    assert base.per_thousand.value == Decimal(2)
    assert base.monthly.value == Decimal(200)
    assert base.break_even is None
    assert (tuned.per_thousand.value, tuned.replicas) == (Decimal("0.1"), 1)
    assert tuned.one_off.value == Decimal("3.60")
    assert tuned.amortised_per_thousand.value == Decimal("0.103")
    assert tuned.break_even is not None
    assert (tuned.break_even.pays, tuned.break_even.requests) == ("from", 1_895)
    assert len(tuned.totals) == len(VOLUMES)


def test_sensitivity_shows_the_prices_that_move_the_break_even():
    ledger = ledger_build(
        prices=PRICES,
        demand=DEMAND,
        entries=[entry("base", tokens=1_000), entry("tuned", tokens=100, seconds=3_600_000)],
        baseline="base",
    )

    variations = {(each.assumption, each.factor): each.break_even.requests for each in ledger.rows[1].sensitivity}

    assert variations == {
        ("price of a device-hour", Decimal("0.5")): 1_000_001,
        ("price of a device-hour", Decimal(2)): 4_000_001,
        ("price of input tokens", Decimal("0.5")): 4_000_001,
        ("price of input tokens", Decimal(2)): 1_000_001,
    }


def test_an_approach_nobody_measured_is_unknown_and_not_free():
    row = ledger_build(prices=PRICES, demand=DEMAND, entries=[Entry("a", "A", None, Effort())]).rows[0]

    assert row.per_thousand.value is None
    assert row.per_thousand.unknown == ("what a request uses",)
    assert row.totals[0].value is None


def test_the_ledger_is_json_with_amounts_as_text():
    ledger = ledger_build(prices=PRICES, demand=DEMAND, entries=[entry("base", rate=7), entry("b", tokens=3, wrong=0.5)], baseline="base")

    stored = json.loads(json.dumps(ledger.to_json(), allow_nan=False))

    assert stored["rows"][0]["per_thousand"]["value"] == "0.142857142857"
    assert stored["rows"][1]["mistakes_per_thousand"] == {"value": None, "unknown": ["the price of a wrong answer"]}

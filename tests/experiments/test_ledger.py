"""Break-even and totals over volumes, against the closed form."""

import json
import random
from dataclasses import replace
from decimal import Decimal

import pytest

from experiments.economics import Demand, DeviceUse, Effort, Prices, TokenUse
from experiments.ledger import VOLUMES, Entry, break_even, ledger_build, likely_break_even, total_cost

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


def timed(approach, rate, *passes, seconds=0, wrong=None, between=None):
    return Entry(approach, approach.title(), DeviceUse(rate, passes), Effort(device_seconds=seconds), wrong, between)


def test_a_break_even_has_a_range_from_the_passes_that_help_to_those_that_harm():
    base, tuned = timed("base", 10, 10, 10), timed("tuned", 20, 16, 25, seconds=3_600)

    result = likely_break_even(tuned, base, PRICES, DEMAND)

    # 3.60 once; a request saves 0.0001 less 0.00005, at best 0.00004 and at worst 0.0000625.
    assert (result.pays, result.requests, result.low, result.high) == ("from", 72_001, 60_001, 96_001)
    assert result.sentence == "Costs less from 72,001 requests on (between 60,001 and 96,001, as far as the measurements vary)."


def test_costs_within_the_spread_of_passes_are_too_close_to_call_whichever_pass_is_stated():
    for ours, theirs in ((10, 12), (13, 11)):
        result = likely_break_even(timed("tuned", ours, 10, 13, seconds=9), timed("base", theirs, 11, 12), PRICES, DEMAND)

        assert (result.pays, result.requests, result.low) == ("unclear", None, None)
        assert result.sentence == "Too close to call: the measurements vary more than the costs differ."


def test_one_measurement_makes_up_no_range():
    base, tuned = timed("base", 10, 10), timed("tuned", 20, 20, seconds=3_600)

    result = likely_break_even(tuned, base, PRICES, DEMAND)

    assert result == replace(break_even(tuned, base, PRICES, DEMAND), sentence=result.sentence)
    assert (result.low, result.high) == (None, None)
    assert result.sentence.endswith(" on (by one measurement each of its and the baseline's speed).")


def test_a_range_says_whose_speed_was_measured_once():
    base, tuned = timed("base", 10, 10), timed("tuned", 20, 16, 25, seconds=3_600)

    result = likely_break_even(tuned, base, PRICES, DEMAND)

    assert result.sentence.endswith(", as far as the measurements vary; by one measurement of the baseline's speed).")


def test_wrong_answers_are_priced_at_both_ends_of_the_interval_of_the_difference():
    prices = replace(PRICES, wrong_answer=Decimal("0.01"))
    base = timed("base", 20, wrong=0.4)
    unsure, sure = (timed("tuned", 10, wrong=0.3, between=between, seconds=3_600) for between in ((0.15, 0.45), (0.2, 0.35)))

    assert likely_break_even(unsure, base, prices, DEMAND, with_mistakes=True).pays == "unclear"
    found = likely_break_even(sure, base, prices, DEMAND, with_mistakes=True)
    assert found.pays == "from"
    assert found.low < found.requests < found.high
    assert likely_break_even(unsure, base, prices, DEMAND).pays == "never", "without wrong answers priced, accuracy does not count"


def test_a_cost_is_told_at_its_fastest_and_slowest_pass():
    row = ledger_build(prices=PRICES, demand=DEMAND, entries=[timed("tuned", 20, 16, 25)]).rows[0]

    assert (row.per_thousand_low.value, row.per_thousand.value, row.per_thousand_high.value) == (
        Decimal("0.04"),
        Decimal("0.05"),
        Decimal("0.0625"),
    )
    assert row.passes == 2


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

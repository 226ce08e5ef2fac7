"""Money: what is known is exact, what is unknown stays unknown, nothing is billed twice."""

from decimal import Decimal

import pytest

from experiments.economics import (
    Amount,
    Demand,
    DeviceUse,
    Effort,
    Prices,
    TokenUse,
    mistakes_cost,
    num_replicas,
    one_off_lines,
    request_cost,
    scaled,
    serving_cost,
    total,
)

PRICES = Prices(
    device_hour=Decimal("3.60"),
    input_million_tokens=Decimal(2),
    cached_million_tokens=Decimal("0.5"),
    output_million_tokens=Decimal(8),
    wrong_answer=Decimal("0.10"),
    labelled_row=Decimal("0.25"),
    person_hour=Decimal(60),
)


def test_a_hosted_request_costs_its_billed_tokens():
    cost = request_cost(TokenUse(input_tokens=1_000, output_tokens=10, cached_tokens=4_000), PRICES)

    assert cost == Amount(Decimal("0.00408"))


def test_a_request_on_an_own_machine_costs_its_share_of_an_hour():
    assert request_cost(DeviceUse(requests_per_second=10), PRICES) == Amount(Decimal("0.0001"))


@pytest.mark.parametrize(
    ("use", "prices", "unknown"),
    [
        (DeviceUse(10), Prices(), ("the price of a device-hour",)),
        (DeviceUse(None), PRICES, ("the measured throughput",)),
        (DeviceUse(0), PRICES, ("the measured throughput",)),
        (DeviceUse(float("nan")), PRICES, ("the measured throughput",)),
        (TokenUse(5, 5), Prices(input_million_tokens=Decimal(1)), ("the price of a million output tokens",)),
        (TokenUse(None, 5), PRICES, ("the number of input tokens",)),
    ],
)
def test_what_is_not_known_is_unknown_and_named_never_zero(use, prices, unknown):
    assert request_cost(use, prices) == Amount(None, unknown)


def test_what_is_not_used_needs_no_price():
    assert request_cost(TokenUse(input_tokens=1_000_000, output_tokens=0), Prices(input_million_tokens=Decimal(2))) == Amount(Decimal(2))
    assert one_off_lines(Effort(), Prices()) == ()


def test_a_price_of_zero_is_a_price():
    assert request_cost(DeviceUse(10), Prices(device_hour=Decimal(0))) == Amount(Decimal(0))


def test_the_one_off_cost_is_billed_line_by_line():
    lines = one_off_lines(Effort(device_seconds=1_800, labelled_rows=100, person_hours=1.5), PRICES)

    assert [(line.name, line.quantity, line.amount.value) for line in lines] == [
        ("Training and search", Decimal("0.5"), Decimal("1.80")),
        ("Labelling", Decimal(100), Decimal("25.00")),
        ("Writing prompts", Decimal("1.5"), Decimal("90.0")),
    ]
    assert total(line.amount for line in lines).value == Decimal("116.80")


def test_a_search_on_a_hosted_model_is_part_of_the_one_off_cost():
    lines = one_off_lines(Effort(hosted=TokenUse(3_000_000, 500_000)), PRICES)

    assert total(line.amount for line in lines).value == Decimal(10)


def test_one_unknown_part_makes_the_whole_unknown_and_names_every_part_once():
    lines = one_off_lines(Effort(device_seconds=10, labelled_rows=None, person_hours=2), Prices())

    assert total(line.amount for line in lines) == Amount(
        None, ("the price of a device-hour", "the number of rows", "the price of a row", "the price of a person-hour")
    )


def test_replicas_carry_the_peak_and_are_never_none():
    # 2,629,800 requests in a month of 730.5 hours are one a second.
    demand = Demand.of_month(2_629_800)

    assert num_replicas(DeviceUse(4), demand) == 1
    assert num_replicas(DeviceUse(3.9), demand) == 2
    assert num_replicas(DeviceUse(0.5), demand) == 8
    assert num_replicas(DeviceUse(1_000), demand) == 1
    assert num_replicas(DeviceUse(None), demand) is None


def test_device_time_is_billed_as_seconds_or_as_machines_never_both():
    use, demand = DeviceUse(4), Demand.of_month(2_629_800, months=1)

    by_the_second = serving_cost(use, PRICES, demand)
    reserved = serving_cost(use, PRICES, Demand.of_month(2_629_800, months=1, reserved=True))

    assert by_the_second.value == pytest.approx(Decimal("730.5") * Decimal("3.60") / 4)
    assert reserved.value == Decimal("730.5") * Decimal("3.60")


def test_reserving_changes_nothing_for_a_hosted_model():
    use = TokenUse(100, 10)

    assert serving_cost(use, PRICES, Demand(reserved=True)) == serving_cost(use, PRICES, Demand())


def test_wrong_answers_cost_their_share():
    assert mistakes_cost(0.2, PRICES) == Amount(Decimal("0.020"))
    assert mistakes_cost(None, PRICES) == Amount(None, ("the accuracy",))
    assert mistakes_cost(0.2, Prices()) == Amount(None, ("the price of a wrong answer",))
    assert mistakes_cost(0.0, Prices()) == Amount(Decimal(0))


def test_floats_keep_the_digits_that_people_read():
    assert scaled(Amount(Decimal("0.1")), 0.1) == Amount(Decimal("0.01"))


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_a_demand_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="above zero"):
        Demand(requests=wrong)

"""The ledger of calls against a budget: what is billed, what may have been, and what still fits."""

from decimal import Decimal

import pytest

from experiments.models import Backbone, CallState, EndpointCall, Evaluation, Experiment
from experiments.services.endpoint_calls import BudgetUsed, CallEnd, Intent, call_settle, calls_intend, jobs_asking
from experiments.services.leases import Lease, job_claim
from tests import factories
from tests.comparison_data import make_price_book

pytestmark = pytest.mark.django_db
# At a thousand euros a million tokens a token costs a tenth of a cent, so that each intent may cost 0.10 at most.
INTENT = Intent("0" * 64, most_input_tokens=80, most_output_tokens=20)


@pytest.fixture
def experiment(workspace) -> Experiment:
    book = make_price_book(workspace, input_million_tokens=Decimal(1000), output_million_tokens=Decimal(1000))
    return factories.make_experiment(workspace, price_book=book, endpoint_money=Decimal("0.25"))


@pytest.fixture
def intend(workspace, experiment):
    """Writes down as many calls as the budget allows of so many."""
    backbone = factories.make_backbone(workspace, kind="hosted", source="https://api.example.com/v1", remote_model="mini")
    lease = job_claim(job_id=factories.make_job(workspace, queue="hosted").pk, worker="first")
    assert lease is not None
    return lambda number: _intend(lease, backbone, experiment, number)


def _intend(lease: Lease, backbone: Backbone, experiment: Experiment, number: int) -> list[EndpointCall]:
    return calls_intend(lease=lease, backbone=backbone, experiment=experiment, intents=[INTENT] * number)


def settle(call: EndpointCall, state: CallState, tokens_in: int | None = None, tokens_out: int | None = None) -> None:
    call_settle(call=call, end=CallEnd(state, {}, input_tokens=tokens_in, output_tokens=tokens_out))


def test_open_calls_count_with_the_most_that_they_can_cost(intend):
    assert len(intend(5)) == 2

    with pytest.raises(BudgetUsed, match=r"0\.25 EUR"):
        intend(1)


def test_answered_call_counts_with_its_bill(intend):
    for call in intend(2):
        settle(call, CallState.ANSWERED, 40, 10)

    # 0.05 + 0.05 are billed, so that one more of at most 0.10 fits and a second does not.
    assert len(intend(5)) == 1


@pytest.mark.parametrize("bill", [(40, None), (None, 10)], ids=["only what was read", "only what was written"])
def test_part_of_a_bill_that_is_not_told_counts_with_the_most_that_it_can_be(intend, bill):
    first, second = intend(2)
    settle(first, CallState.ANSWERED, *bill)
    settle(second, CallState.REFUSED)

    # Billed: 40 read and at most 20 written, or at most 80 read and 10 written. One call of at most 100 fits beside either.
    assert len(intend(5)) == 1
    with pytest.raises(BudgetUsed):
        intend(1)


def test_call_without_a_usable_answer_counts_in_full_and_a_refused_one_not_at_all(intend):
    first, second = intend(2)
    settle(first, CallState.UNKNOWN)
    settle(second, CallState.REFUSED)

    assert len(intend(5)) == 1


def test_the_smaller_of_two_budgets_ends_it(intend, experiment):
    Experiment.objects.filter(pk=experiment.pk).update(endpoint_requests=1)

    assert len(intend(5)) == 1


def test_jobs_that_ask_an_endpoint_are_counted_while_they_run(workspace, experiment):
    """Two runs of one model, one of them not begun yet, and one of another model."""
    first, other = (factories.make_backbone(workspace, name=name, kind="hosted", source="https://api.example.com/v1") for name in "ab")
    for backbone, state in ((first, "running"), (first, "queued"), (other, "running")):
        approach = factories.make_approach(experiment, backbone=backbone, family="hosted", name=f"{backbone} {state}")
        run = factories.make_run(approach, job=factories.make_job(workspace, queue="hosted", state=state))
        Evaluation.objects.create(run=run, dataset_version=experiment.dataset_version, split="validation", job=run.job)

    assert jobs_asking(first) == 1

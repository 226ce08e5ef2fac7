"""What the hosted approaches of a comparison have asked and were billed, as their calls say. Reads only."""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Q

from experiments.models import CallState, EndpointCall, Experiment, JobState
from experiments.services.endpoint_calls import PAID, money_of, tokens_billed


@dataclass(frozen=True)
class Spending:
    """Calls and their bill; calls without a known bill count with the most that they can cost.

    Args:
        unknown: calls without a usable answer that may have been billed all the same.
        money: None where the price book does not say what tokens cost.
    """

    calls: int
    answered: int
    refused: int
    unknown: int
    under_way: int
    input_tokens: int
    output_tokens: int
    money: Decimal | None


def endpoint_spending(experiment: Experiment) -> Spending:
    """The spending of a comparison."""
    calls = EndpointCall.objects.filter(experiment=experiment)
    is_running = Q(job__state=JobState.RUNNING)  # what a job that ended has asked gets no answer any more
    counts = calls.aggregate(
        calls=Count("pk"),
        answered=Count("pk", filter=Q(state=CallState.ANSWERED)),
        refused=Count("pk", filter=Q(state=CallState.REFUSED)),
        unknown=Count("pk", filter=Q(state=CallState.UNKNOWN) | Q(state=CallState.ASKED) & ~is_running),
        under_way=Count("pk", filter=Q(state=CallState.ASKED) & is_running),
    )
    tokens_in, tokens_out = tokens_billed(calls.filter(state__in=PAID))
    return Spending(**counts, input_tokens=tokens_in, output_tokens=tokens_out, money=money_of(experiment, tokens_in, tokens_out))

"""The ledger of calls to hosted endpoints: a row before each call, its end after it, and what a comparison may still spend.

An answered call is kept with its job whatever becomes of the attempt, so that nothing is asked and paid for twice knowingly.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import Backbone, CallState, EndpointCall, Experiment, Job, JobState, User
from experiments.models.comparisons import Family
from experiments.planning.checks import BUDGET_NEEDS_PRICES
from experiments.services.audit import audit_record
from experiments.services.leases import Lease, lease_renew
from experiments.wording import counted

MILLION = 1_000_000
OPEN = [CallState.ASKED, CallState.UNKNOWN]
PAID = [CallState.ANSWERED, *OPEN]
NOT_RECORDED = "The worker ended before an answer was recorded."


class BudgetUsed(UserError):
    """The comparison may not ask hosted endpoints any more."""

    kind = "budget"


@dataclass(frozen=True)
class Intent:
    """A call that is about to be made.

    Args:
        example_id: the row that it is about; None for a call that only looks whether the endpoint answers.
        most_input_tokens, most_output_tokens: the most that it can be billed for.
    """

    request_sha256: str
    most_input_tokens: int
    most_output_tokens: int
    example_id: int | None = None


@dataclass(frozen=True)
class CallEnd:
    """What became of a call. Token counts are None where the endpoint did not say."""

    state: CallState
    reply: dict[str, Any]
    problem: str = ""
    seconds: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


def calls_intend(*, lease: Lease, backbone: Backbone, experiment: Experiment | None, intents: Sequence[Intent]) -> list[EndpointCall]:
    """Write down calls that are about to be made: all of them, or as many from the front as the budget allows.

    Raises:
        LeaseLost: somebody else has the job, so nothing may be asked.
        BudgetUsed: not even the first fits into the budget.
    """
    with transaction.atomic():
        if experiment is not None:
            # The lock makes two runs that ask at once share one budget. Experiments are locked before jobs everywhere.
            experiment = Experiment.objects.select_for_update(of=("self",)).select_related("price_book").get(pk=experiment.pk)
        lease_renew(lease=lease)
        allowed = intents if experiment is None else _within_budget(experiment, intents)
        return EndpointCall.objects.bulk_create(_row(lease, backbone, experiment, intent) for intent in allowed)


def call_settle(*, call: EndpointCall, end: CallEnd) -> None:
    """Keep what became of a call. It needs no lease: what was answered and billed stays true, whoever has the job now."""
    EndpointCall.objects.filter(pk=call.pk).update(
        state=end.state,
        reply=end.reply,
        problem=end.problem,
        seconds=end.seconds,
        input_tokens=end.input_tokens,
        output_tokens=end.output_tokens,
        answered_at=timezone.now(),
    )


def calls_forget_open(*, lease: Lease) -> int:
    """Mark the calls that earlier attempts left without a recorded answer. Returns how many of the job there are: perhaps paid twice."""
    earlier = EndpointCall.objects.filter(job=lease.job_id, state=CallState.ASKED).exclude(attempt=lease.attempt_id)
    earlier.update(state=CallState.UNKNOWN, problem=NOT_RECORDED)
    return EndpointCall.objects.filter(job=lease.job_id, state=CallState.UNKNOWN, problem=NOT_RECORDED).count()


def calls_kept(*, lease: Lease) -> dict[tuple[int | None, str], EndpointCall]:
    """{(row, what was asked): call} of the job's answered calls, from every attempt."""
    answered = EndpointCall.objects.filter(job=lease.job_id, state=CallState.ANSWERED)
    return {(call.example_id, call.request_sha256): call for call in answered}


def calls_failed(*, lease: Lease) -> Counter[tuple[int | None, str]]:
    """How often the endpoint stumbled over each question of the job, in every attempt; calls that a lost worker left are not its doing."""
    failed = EndpointCall.objects.filter(job=lease.job_id, state=CallState.UNKNOWN).exclude(problem=NOT_RECORDED)
    return Counter(failed.values_list("example_id", "request_sha256"))


def jobs_asking(backbone: Backbone) -> int:
    """Jobs that ask this endpoint row by row at the moment."""
    asking = Job.objects.filter(state=JobState.RUNNING, evaluations__run__approach__backbone=backbone)
    return asking.filter(evaluations__run__approach__family=Family.HOSTED).values("pk").distinct().count()


def endpoint_budget_set(*, experiment: Experiment, requests: int | None, money: Decimal | None, by: User | None) -> None:
    """Give a comparison another budget for hosted endpoints, so that runs that it stopped can be tried again.

    Raises:
        UserError: a budget in money without prices to count it by.
    """
    with transaction.atomic():
        experiment.endpoint_requests, experiment.endpoint_money = requests, money
        if money is not None and money_of(experiment, 0, 0) is None:
            raise UserError(BUDGET_NEEDS_PRICES)
        Experiment.objects.filter(pk=experiment.pk).update(endpoint_requests=requests, endpoint_money=money)
        detail = {"requests": requests, "money": None if money is None else str(money)}
        audit_record(by=by, verb="changed the budget of", target=experiment, workspace=experiment.workspace, detail=detail)


def tokens_billed(calls: "QuerySet[EndpointCall]") -> tuple[int, int]:
    """Billed tokens, and for calls whose bill is not known the most that they can be."""
    sums = calls.aggregate(
        input=Sum("input_tokens"),
        output=Sum("output_tokens"),
        input_open=Sum("reserved_input_tokens", filter=Q(input_tokens=None)),
        output_open=Sum("reserved_output_tokens", filter=Q(output_tokens=None)),
    )
    known = {name: int(value or 0) for name, value in sums.items()}
    return known["input"] + known["input_open"], known["output"] + known["output_open"]


def money_of(experiment: Experiment, tokens_in: int, tokens_out: int) -> Decimal | None:
    """What tokens cost at the prices of a comparison; None where they are not known."""
    book = experiment.price_book
    if book is None or book.input_million_tokens is None or book.output_million_tokens is None:
        return None
    read, written = Decimal(book.input_million_tokens), Decimal(book.output_million_tokens)
    return (tokens_in * read + tokens_out * written) / MILLION


def _row(lease: Lease, backbone: Backbone, experiment: Experiment | None, intent: Intent) -> EndpointCall:
    return EndpointCall(
        job_id=lease.job_id,
        attempt_id=lease.attempt_id,
        backbone=backbone,
        experiment=experiment,
        example_id=intent.example_id,
        request_sha256=intent.request_sha256,
        reserved_input_tokens=intent.most_input_tokens,
        reserved_output_tokens=intent.most_output_tokens,
    )


def _within_budget(experiment: Experiment, intents: Sequence[Intent]) -> Sequence[Intent]:
    if experiment.endpoint_requests is None and experiment.endpoint_money is None:
        return intents
    calls = EndpointCall.objects.filter(experiment=experiment, state__in=PAID)
    num_calls, (tokens_in, tokens_out) = calls.count(), tokens_billed(calls)
    allowed: list[Intent] = []
    for intent in intents:
        num_calls, tokens_in, tokens_out = num_calls + 1, tokens_in + intent.most_input_tokens, tokens_out + intent.most_output_tokens
        if _is_over(experiment, num_calls, money_of(experiment, tokens_in, tokens_out)):
            break
        allowed.append(intent)
    if intents and not allowed:
        raise BudgetUsed(f"The budget for hosted endpoints is used up ({_budget_words(experiment)}).")
    return allowed


def _is_over(experiment: Experiment, num_calls: int, money: Decimal | None) -> bool:
    if experiment.endpoint_requests is not None and num_calls > experiment.endpoint_requests:
        return True
    return experiment.endpoint_money is not None and (money is None or money > experiment.endpoint_money)


def _budget_words(experiment: Experiment) -> str:
    parts = []
    if experiment.endpoint_requests is not None:
        parts.append(counted(experiment.endpoint_requests, "call"))
    if experiment.endpoint_money is not None and experiment.price_book is not None:
        parts.append(f"{experiment.endpoint_money.normalize():f} {experiment.price_book.currency}")
    return " or ".join(parts)

"""A job's way to its endpoint: the calls it makes, each written down before it is made, and what is kept of them.

Knows lease, ledger and client; what is asked and what answers mean is the caller's business.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from experiments.endpoints import EndpointLimits
from experiments.errors import UserError
from experiments.models import Backbone, CallState, EndpointCall, Experiment, Job
from experiments.services.endpoint_calls import (
    BudgetUsed,
    CallEnd,
    Intent,
    call_settle,
    calls_failed,
    calls_forget_open,
    calls_intend,
    calls_kept,
    jobs_asking,
)
from experiments.services.endpoints import endpoint_key_open
from experiments.services.leases import Lease
from workers.endpoint.client import Endpoint, EndpointClient, Reply
from workers.endpoint.faults import Fault, Trouble
from workers.endpoint.rounds import FAILURES_A_ROW, Gate, NoRoom, Pace, Question, Rounds
from workers.endpoint.wording import Dialect, fingerprint, most_input_tokens
from workers.engine.contract.spec import Item
from workers.host import Wish
from workers.watch import LeaseKeeper

KINDS = {
    Trouble.FINAL: "endpoint_refused",
    Trouble.BUSY: "endpoint_busy",
    Trouble.GARBLED: "endpoint_garbled",
    Trouble.ROW: "endpoint_refused",
}

SHARING_SECONDS = 5.0
AWAY_SECONDS = 1.0


class EndpointGivenUp(UserError):
    """The endpoint answers no more. `kind` is the job's error kind."""

    def __init__(self, sentence: str, kind: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass
class Ask:
    """One request on its way: the row, the body, and how often it was paid for without an answer."""

    item: Item | None
    body: dict[str, Any]
    protocol: str
    sha256: str
    most_output_tokens: int

    @property
    def example_id(self) -> int | None:
        return int(self.item.id) if self.item and self.item.id else None

    @property
    def key(self) -> tuple[int | None, str]:
        """The row, if it is about one, and what is asked: two requests with the same are one."""
        return self.example_id, self.sha256

    def intent(self) -> Intent:
        return Intent(self.sha256, most_input_tokens(self.body), self.most_output_tokens, self.example_id)


class Asking:
    """A job's way to its endpoint: client, ledger rows, lease and pace. The clear key lives here and in the client only."""

    def __init__(self, lease: Lease, job: Job, backbone: Backbone) -> None:
        self.lease, self.job, self.backbone = lease, job, backbone
        self.limits = EndpointLimits.from_json(backbone.limits)
        self.experiment = Experiment.objects.filter(pk__in=job.evaluations.values("run__approach__experiment")[:1]).first()
        self.keeper = LeaseKeeper(lease)
        self.client = EndpointClient(
            Endpoint(
                url=backbone.source,
                model=backbone.remote_model,
                key=endpoint_key_open(backbone=backbone),
                timeout_seconds=self.limits.timeout_seconds,
                concurrency=self.limits.concurrency,
                private=settings.ENDPOINT_PRIVATE_NETWORKS,
            )
        )
        self.num_unrecorded = calls_forget_open(lease=lease)
        self.kept = calls_kept(lease=lease)
        self.failed = calls_failed(lease=lease)
        self.gate = Gate()
        self._counted_at, self._num_sharing = -SHARING_SECONDS, 1

    def ask_of(self, body: dict[str, Any], dialect: Dialect, item: Item | None = None) -> Ask:
        """The request with its fingerprint; two that are equal are one."""
        sha256 = fingerprint(self.backbone.source, self.backbone.remote_model, body)
        return Ask(item, body, dialect.protocol, sha256, int(body[dialect.token_field]))

    def question_of(self, ask: Ask) -> Question:
        """The request as it is asked. What failed before is asked twice more, lest a row that always fails keeps the job from its end."""
        return Question(ask, min(self.failed[ask.key], FAILURES_A_ROW - 2))

    def known(self, ask: Ask) -> Reply | None:
        """The answer that an earlier attempt of this job got to the same request."""
        call = self.kept.get(ask.key)
        return reply_of(call) if call else None

    def call(self, question: Question) -> Reply:
        ask: Ask = question.mark
        return self.client.ask(ask.protocol, ask.body)

    def intend(self, questions: Sequence[Question]) -> list[EndpointCall]:
        intents = [question.mark.intent() for question in questions]
        try:
            return calls_intend(lease=self.lease, backbone=self.backbone, experiment=self.experiment, intents=intents)
        except BudgetUsed as error:
            raise NoRoom(str(error)) from error

    def settle(self, receipt: EndpointCall, question: Question, outcome: Reply | Fault) -> None:
        """Write down what became of a call. A database that is away is waited for: what it does not hear of is paid for twice."""
        while True:
            try:
                return call_settle(call=receipt, end=end_of(outcome))
            except (OperationalError, InterfaceError):
                if self.look() is Wish.DROP:
                    raise
                connection.close()
                time.sleep(AWAY_SECONDS)

    def look(self) -> Wish:
        return self.keeper.look()

    def num_sharing(self) -> int:
        """How many jobs the endpoint's pace is for at the moment; looked at every few seconds."""
        now = time.monotonic()
        if now - self._counted_at >= SHARING_SECONDS:
            self._counted_at, self._num_sharing = now, jobs_asking(self.backbone)
        return self._num_sharing

    def close(self) -> None:
        self.client.close()

    def rounds(self, on_end: Callable[[Question, Reply | Fault], None]) -> Rounds:
        """A scheduler over this way."""
        pace = Pace(self.limits.concurrency, self.limits.requests_per_minute, settings.ENDPOINT_PATIENCE_SECONDS)
        return Rounds(self.call, self, pace, self.look, on_end, has_answered=bool(self.kept), num_sharing=self.num_sharing, gate=self.gate)


def end_of(outcome: Reply | Fault) -> CallEnd:
    """What is kept of a call."""
    if isinstance(outcome, Reply):
        return CallEnd(
            CallState.ANSWERED,
            outcome.to_json(),
            "",
            outcome.seconds,
            input_tokens=outcome.input_tokens,
            output_tokens=outcome.output_tokens,
        )
    return CallEnd(CallState.UNKNOWN if outcome.may_be_billed else CallState.REFUSED, {}, outcome.sentence)


def reply_of(call: EndpointCall) -> Reply:
    """The answer that a kept call holds."""
    kept = call.reply
    top = tuple(tuple((str(word), float(value)) for word, value in token) for token in kept["top"])
    return Reply(
        kept["text"],
        top,
        kept["finish"],
        kept["model"],
        call.input_tokens,
        call.output_tokens,
        call.seconds or 0.0,
        kept.get("cached_tokens"),
    )

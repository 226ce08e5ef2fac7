"""Jobs that ask a hosted model: the same order and the same result as an engine host's, made of calls over the network.

With `workers.adapters` and `workers.outcomes` the third file that knows rows and runs. Every call is written down before it is made.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

from django.conf import settings

from experiments.endpoints import EndpointLimits, endpoint_host
from experiments.errors import UserError
from experiments.models import Backbone, CallState, EndpointCall, Experiment, Job, JobKind, JobState
from experiments.services.endpoint_calls import BudgetUsed, CallEnd, Intent, call_settle, calls_forget_open, calls_intend, calls_kept
from experiments.services.endpoints import endpoint_key_open
from experiments.services.leases import Lease, lease_finish, lease_release
from experiments.services.results import inspection_commit
from experiments.wording import counted
from workers.adapters import order_of
from workers.endpoint.client import Endpoint, EndpointClient, Reply
from workers.endpoint.faults import Fault, Trouble
from workers.endpoint.probing import DIALECTS, GREETING, GREETING_TOKENS, facts_of, may_ask_otherwise
from workers.endpoint.reading import read_label
from workers.endpoint.rounds import GivenUp, Interrupted, NoRoom, Pace, Question, Rounds, asked_words
from workers.endpoint.wording import Dialect, check_columns, cut_at_stop, fingerprint, most_input_tokens, shown
from workers.engine.formats import FormatChecker
from workers.engine.metrics import classification_metrics, extraction_metrics
from workers.engine.outcome import Prediction, RunResult, write_json, write_predictions
from workers.engine.rows import read_rows
from workers.engine.spec import EvaluateOn, Item, RunSpec
from workers.host import Wish
from workers.outcomes import outcome_save
from workers.watch import LeaseKeeper

KINDS = {
    Trouble.FINAL: "endpoint_refused",
    Trouble.BUSY: "endpoint_busy",
    Trouble.GARBLED: "endpoint_garbled",
    Trouble.ROW: "endpoint_refused",
}


class EndpointGivenUp(UserError):
    """The endpoint answers no more. `kind` is the job's error kind."""

    def __init__(self, sentence: str, kind: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def hosted_perform(lease: Lease, job: Job, backbone: Backbone) -> None:
    """Do a job by asking its endpoint, and end it.

    Raises:
        UserError: the endpoint, the key or the budget stands in the way; what was answered is kept.
        LeaseLost: somebody else has the job.
    """
    asking = Asking(lease, job, backbone)
    try:
        if job.kind == JobKind.INSPECT:
            _inspect(asking)
        else:
            order = order_of(job, fence=lease.fence)
            spec = RunSpec.from_file(order.folder / "spec.json")
            result = HostedRun(asking, spec).execute(order.folder / "out")
            write_json(order.folder / "out" / "result.json", result.to_json())
            outcome_save(lease, order, {})
    except Interrupted as stop:
        WAYS_OUT[stop.wish](lease)
    finally:
        asking.close()


def _cancelled(lease: Lease) -> None:
    lease_finish(lease=lease, state=JobState.CANCELLED)


def _leaving(lease: Lease) -> None:
    lease_release(lease=lease)


def _dropped(lease: Lease) -> None:
    """Somebody else has the job; nothing of this attempt counts, and its answers are kept for them."""


WAYS_OUT: dict[Wish, Callable[[Lease], None]] = {Wish.CANCEL: _cancelled, Wish.LEAVE: _leaving, Wish.DROP: _dropped}


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
        return int(self.item.id) if self.item else None

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

    def ask_of(self, body: dict[str, Any], dialect: Dialect, item: Item | None = None) -> Ask:
        """The request with its fingerprint; two that are equal are one."""
        sha256 = fingerprint(self.backbone.source, self.backbone.remote_model, body)
        return Ask(item, body, dialect.protocol, sha256, int(body[dialect.token_field]))

    def known(self, ask: Ask) -> Reply | None:
        """The answer that an earlier attempt of this job got to the same request."""
        call = self.kept.get((ask.example_id, ask.sha256))
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
        call_settle(call=receipt, end=end_of(outcome))

    def look(self) -> Wish:
        return self.keeper.look()

    def close(self) -> None:
        self.client.close()

    def rounds(self, on_end: Callable[[Question, Reply | Fault], None]) -> Rounds:
        """A scheduler over this way."""
        pace = Pace(self.limits.concurrency, self.limits.requests_per_minute, settings.ENDPOINT_PATIENCE_SECONDS)
        return Rounds(self.call, self, pace, self.look, on_end)


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


@dataclass
class HostedRun:
    """A run of a written prompt on an endpoint: every row of every evaluation asked, or an error in its place."""

    asking: Asking
    spec: RunSpec
    outcomes: dict[str, Reply | Fault] = field(default_factory=dict)
    again: int = 0

    def execute(self, out: Path) -> RunResult:
        """Ask, and leave predictions in the folder as the engine does.

        Raises:
            UserError: the endpoint or the budget ended it; what was answered is kept.
        """
        out.mkdir(parents=True, exist_ok=True)
        spec = self.spec
        result = RunResult(spec.id, "succeeded", spec.recipe.method, dict(spec.recipe.options), spec.seed)
        for target in spec.evaluate:
            self._evaluate(target, out, result)
        result.device_name = f"endpoint {endpoint_host(self.asking.backbone.source)}"
        result.versions = {"openai": metadata.version("openai")}
        result.warnings = self._warnings(result.endpoint)
        result.backbone = {"family": "hosted", "model": self.asking.backbone.remote_model, "source": self.asking.backbone.source}
        return result

    def _evaluate(self, target: EvaluateOn, out: Path, result: RunResult) -> None:
        items = read_rows(target.file, self.spec.labels, self.spec.max_rows)
        dialect = Dialect.from_facts(self.asking.backbone.facts)
        check_columns(self.spec, items[0])
        asks = [self.asking.ask_of(dialect.body(self.spec, item.fields, self._answer_tokens()), dialect, item) for item in items]
        started = time.monotonic()
        self._ask_all(asks)
        seconds = time.monotonic() - started
        readings: dict[str, int] = {}
        predictions = [self._prediction(ask, item, readings) for ask, item in zip(asks, items, strict=True)]
        if self.spec.task == "extraction":
            result.metrics[target.name] = extraction_metrics(predictions, FormatChecker(self.spec.answer_format), seconds)
        else:
            result.metrics[target.name] = classification_metrics(predictions, self.spec.labels, seconds)
        name = f"predictions-{target.name}.jsonl"
        write_predictions(out / name, predictions)
        result.predictions[target.name] = name
        replies = [outcome for ask in asks if isinstance(outcome := self.outcomes[str(ask.example_id)], Reply)]
        result.timings["score"] = result.timings.get("score", 0.0) + seconds
        result.endpoint = {
            **self._account(replies, dialect),
            "latency": latency_of(replies),
            "read_by": _merged(result.endpoint.get("read_by", {}), readings),
        }

    def _ask_all(self, asks: Sequence[Ask]) -> None:
        for ask in asks:
            if (known := self.asking.known(ask)) is not None:
                self.outcomes[str(ask.example_id)] = known
        open_asks = [ask for ask in asks if str(ask.example_id) not in self.outcomes]

        ended = count(len(asks) - len(open_asks) + 1)

        def on_end(question: Question, outcome: Reply | Fault) -> None:
            self.outcomes[str(question.mark.example_id)] = outcome
            self.asking.keeper.record({"phase": "scoring", "rows": next(ended), "rows_total": len(asks)})

        rounds = self.asking.rounds(on_end)
        try:
            rounds.run([Question(ask) for ask in open_asks])
        except GivenUp as error:
            raise EndpointGivenUp(f"{error.sentence} {self._answered(asks)}", KINDS[error.fault.trouble]) from error
        except NoRoom as error:
            raise EndpointGivenUp(
                f"{error} {self._answered(asks)} Raise the budget and try again: only those are asked.", "budget"
            ) from error
        finally:
            self.again += rounds.num_again

    def _answer_tokens(self) -> int:
        """A label is short, but a model may think first; a free answer may need more than the endpoint's own setting."""
        asked = self.asking.limits.answer_tokens
        return max(asked, self.spec.generation.max_new_tokens) if self.spec.task == "extraction" else asked

    def _answered(self, asks: Sequence[Ask]) -> str:
        answered = EndpointCall.objects.filter(job=self.asking.job, state=CallState.ANSWERED)
        kept = set(answered.values_list("example", "request_sha256"))
        return asked_words(sum(1 for ask in asks if (ask.example_id, ask.sha256) in kept), len(asks))

    def _prediction(self, ask: Ask, item: Item, readings: dict[str, int]) -> Prediction:
        prediction = Prediction(item.id, item.label, prompt=shown(ask.body) if self.spec.keep_prompts else None)
        outcome = self.outcomes[item.id]
        if isinstance(outcome, Fault):
            prediction.error = outcome.sentence
            return prediction
        prediction.text = outcome.text.strip()
        prediction.prompt_tokens, prediction.completion_tokens = outcome.input_tokens or 0, outcome.output_tokens or 0
        prediction.seconds = outcome.seconds
        if self.spec.task == "extraction":
            prediction.text = prediction.predicted = cut_at_stop(outcome.text, self.spec.generation.stop)
        else:
            reading = read_label(outcome, {label: self.spec.words_of(label) for label in self.spec.labels})
            prediction.predicted, prediction.loglikelihoods = reading.label, reading.scores
            readings[reading.how] = readings.get(reading.how, 0) + 1
        return prediction

    def _account(self, replies: Sequence[Reply], dialect: Dialect) -> dict[str, Any]:
        """What the calls were billed: means over the answered rows, None where the endpoint did not say it of each."""
        calls = EndpointCall.objects.filter(job=self.asking.job)
        return {
            "host": endpoint_host(self.asking.backbone.source),
            "model": self.asking.backbone.remote_model,
            "answered_as": sorted({reply.model for reply in replies if reply.model})[:5],
            "protocol": dialect.protocol,
            "top_logprobs": dialect.top_logprobs,
            "calls": calls.count(),
            "asked_again": self.again,
            "perhaps_paid_twice": self.asking.num_unrecorded,
            "without_answer": calls.filter(state=CallState.UNKNOWN).count(),
            "billed": {
                "input": _mean([reply.input_tokens for reply in replies]),
                "output": _mean([reply.output_tokens for reply in replies]),
                "cached": _mean([reply.cached_tokens for reply in replies]),
            },
            "cut_off": sum(reply.finish == "length" for reply in replies),
        }

    def _warnings(self, account: dict[str, Any]) -> list[str]:
        sentences = []
        if account["perhaps_paid_twice"]:
            lost = counted(account["perhaps_paid_twice"], "call")
            sentences.append(f"{lost} had no recorded answer when a worker ended. They were made again and may have been paid twice.")
        nothing = sum(1 for outcome in self.outcomes.values() if isinstance(outcome, Reply) and not outcome.text.strip())
        if nothing and account["cut_off"]:
            sentences.append(
                f"{counted(nothing, 'answer')} came back empty, and {account['cut_off']:,} ended at the limit of "
                f"{counted(self._answer_tokens(), 'token')}. A model that thinks before it answers needs a higher limit: "
                "change it on the model's page."
            )
        if account["billed"]["input"] is None:
            sentences.append("The endpoint did not say what it bills, so tokens and costs are unknown.")
        return sentences


def latency_of(replies: Sequence[Reply]) -> dict[str, Any]:
    """Percentiles of the calls themselves, as they were made: several at once, over the network (milliseconds)."""
    ordered = sorted(reply.seconds * 1000 for reply in replies)
    if not ordered:
        return {"rows": 0, "p50_ms": None, "p95_ms": None, "withheld": "No call was answered."}
    middle, high = ordered[(len(ordered) - 1) // 2], ordered[-(-95 * len(ordered) // 100) - 1]
    return {"rows": len(ordered), "p50_ms": middle, "p95_ms": high, "withheld": None}


def _inspect(asking: Asking) -> None:
    """Find out how the endpoint wants to be asked: the first way that it answers is kept, the richest first.

    Raises:
        EndpointGivenUp: it answers in none of them; the sentence is about the first.
    """
    refusals: list[GivenUp] = []
    for dialect in DIALECTS:
        answers: list[Reply | Fault] = []
        rounds = asking.rounds(lambda question, outcome, answers=answers: answers.append(outcome))  # type: ignore[misc]
        rounds.is_probe = True
        try:
            rounds.run([Question(asking.ask_of(dialect.body(GREETING, {"text": "Hello"}, GREETING_TOKENS), dialect))])
        except GivenUp as error:
            refusals.append(error)
            if not may_ask_otherwise(error.fault):
                break
        else:
            _inspected(asking, answers[0], dialect)
            return
    raise EndpointGivenUp(refusals[0].sentence, KINDS[refusals[0].fault.trouble])


def _inspected(asking: Asking, answer: Reply | Fault, dialect: Dialect) -> None:
    assert isinstance(answer, Reply)
    now = Backbone.objects.get(pk=asking.backbone.pk)
    if (now.source, now.remote_model) != (asking.backbone.source, asking.backbone.remote_model):
        raise UserError("The endpoint was changed while it was being verified. Verify it again.")
    inspection_commit(lease=asking.lease, facts=facts_of(answer, dialect))


def _merged(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {how: one.get(how, 0) + other.get(how, 0) for how in {**one, **other}}


def _mean(counts: Sequence[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known and len(known) == len(counts) else None

"""A written prompt on a hosted model: every row of every evaluation asked, once for each step of the prompt, and read as the engine reads.

Knows what is asked and what answers mean; how calls are made and kept is the business of `workers.asking`.
"""

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

from experiments.endpoints import endpoint_host
from experiments.models import CallState, EndpointCall, JobKind
from experiments.wording import counted
from workers.asking import KINDS, Ask, Asking, EndpointGivenUp
from workers.endpoint.client import Reply
from workers.endpoint.faults import Fault
from workers.endpoint.reading import read_label
from workers.endpoint.rounds import GivenUp, NoRoom, Question, asked_words
from workers.endpoint.wording import Dialect, check_columns, cut_at_stop, shown
from workers.engine.contract.outcome import Prediction, RunResult, write_predictions
from workers.engine.contract.spec import EvaluateOn, Item, RunSpec
from workers.engine.contract.template_spec import STEP
from workers.engine.figures.formats import FormatChecker
from workers.engine.figures.metrics import target_metrics
from workers.engine.prompts.chain import answering_spec, with_text, writing_spec
from workers.engine.prompts.draws import with_drawn
from workers.engine.rows import read_rows
from workers.hosted_search import searched


@dataclass(frozen=True)
class Asked:
    """A row, what was asked about it last and what came of it; the first of two steps beside it."""

    item: Item
    ask: Ask
    outcome: Reply | Fault
    first: tuple[Ask, Reply] | None = None

    def after(self, first: "Asked", text: str) -> "Asked":
        """The same with the step that went before and wrote a text."""
        assert isinstance(first.outcome, Reply), "without its text there is no second step"
        return replace(self, item=with_text(first.item, text), first=(first.ask, first.outcome))

    @property
    def whole(self) -> Reply | Fault:
        """The answer with the tokens and the time of both calls; a count that one of them lacks is not known."""
        if self.first is None or isinstance(self.outcome, Fault):
            return self.outcome
        calls = (self.first[1], self.outcome)
        return replace(
            self.outcome,
            input_tokens=_sum(call.input_tokens for call in calls),
            output_tokens=_sum(call.output_tokens for call in calls),
            cached_tokens=_sum(call.cached_tokens for call in calls),
            seconds=sum(call.seconds for call in calls),
        )


@dataclass
class HostedRun:
    """A run of a written prompt on an endpoint: every row of every evaluation asked, or an error in its place."""

    asking: Asking
    spec: RunSpec
    outcomes: dict[tuple[int | None, str], Reply | Fault] = field(default_factory=dict)
    again: int = 0
    num_asks: int = 0
    num_asked: int = 0

    def execute(self, out: Path) -> RunResult:
        """Ask, and leave predictions in the folder as the engine does.

        Raises:
            UserError: the endpoint or the budget ended it; what was answered is kept.
        """
        out.mkdir(parents=True, exist_ok=True)
        spec = self.spec
        result = RunResult(spec.id, "succeeded", spec.recipe.method, dict(spec.recipe.options), spec.seed)
        warnings: list[str] = []
        if spec.recipe.method == "dspy_search":
            self.spec, result.written["search"], found_warnings = searched(self.asking, spec, self.outcomes, self._most_tokens)
            warnings += found_warnings
        elif spec.recipe.method == "drawn_examples":
            assert spec.train is not None, "the spec refuses drawn examples without train rows"
            self.spec, result.written["examples"] = with_drawn(spec, read_rows(spec.train, spec.labels, spec.max_rows))
        for target in spec.evaluate:
            self._evaluate(target, out, result)
        result.device_name = f"endpoint {endpoint_host(self.asking.backbone.source)}"
        result.versions = {"openai": metadata.version("openai")}
        result.warnings = [*warnings, *self._warnings(result.endpoint)]
        result.backbone = {"family": "hosted", "model": self.asking.backbone.remote_model, "source": self.asking.backbone.source}
        return result

    def _evaluate(self, target: EvaluateOn, out: Path, result: RunResult) -> None:
        items = read_rows(target.file, self.spec.labels, self.spec.max_rows, labelled=target.labelled)
        dialect = Dialect.from_facts(self.asking.backbone.facts)
        check_columns(self.spec, items[0])
        started = time.monotonic()
        rows = self._answers(items, dialect)
        seconds = self._whole_seconds(time.monotonic() - started, rows)
        readings: dict[str, int] = {}
        predictions = [self._prediction(row, readings) for row in rows]
        result.metrics[target.name] = target_metrics(self.spec, target, predictions, FormatChecker(self.spec.answer_format), seconds)
        name = f"predictions-{target.name}.jsonl"
        write_predictions(out / name, predictions)
        result.predictions[target.name] = name
        replies = [whole for row in rows if isinstance(whole := row.whole, Reply)]
        result.timings["score"] = result.timings.get("score", 0.0) + seconds
        if self.spec.template.first_step:
            result.written |= _first_texts([row.first[1] for row in rows if row.first])
        result.endpoint = {
            **self._account(replies, dialect),
            "latency": latency_of(replies),
            "read_by": _merged(result.endpoint.get("read_by", {}), readings),
        }

    def _whole_seconds(self, seconds: float, rows: Sequence[Asked]) -> float:
        """What all rows take, by those that this attempt asked; what an earlier one was answered took it no time."""
        if self.num_asked:
            return seconds * self.num_asks / self.num_asked
        return sum(row.whole.seconds for row in rows if isinstance(row.whole, Reply)) / self.asking.limits.concurrency

    def _answers(self, items: Sequence[Item], dialect: Dialect) -> list[Asked]:
        """Each row's answer; where the prompt has a first step, it is asked of all rows, and its texts are read by the second."""
        if self.spec.template.first_step is None:
            return self._ask_all(self.spec, items, dialect)
        writing = writing_spec(self.spec)
        examples = [Item("", each.fields, each.label) for each in self.spec.template.demonstrations]
        wrote = self._ask_all(writing, [*examples, *items], dialect, "In the first step, ")
        texts = [cut_at_stop(row.outcome.text, writing.generation.stop) if isinstance(row.outcome, Reply) else None for row in wrote]
        if None in texts[: len(examples)]:
            raise EndpointGivenUp(
                "The first step got no text about an example that the prompt shows. Choose another one.", "endpoint_refused"
            )
        answering = answering_spec(self.spec, [text or "" for text in texts[: len(examples)]])
        firsts = list(zip(items, wrote[len(examples) :], texts[len(examples) :], strict=True))
        ready = [with_text(item, text) for item, _, text in firsts if text is not None]
        answered = iter(self._ask_all(answering, ready, dialect))
        return [first if text is None else next(answered).after(first, text) for _, first, text in firsts]

    def _ask_all(self, spec: RunSpec, items: Sequence[Item], dialect: Dialect, where: str = "") -> list[Asked]:
        """One step of every row, those that are known already left out.

        Args:
            where: begins the sentence about how far it came.
        """
        asks = [self.asking.ask_of(dialect.body(spec, item.fields, self._most_tokens(spec)), dialect, item) for item in items]
        self.outcomes |= {ask.key: known for ask in asks if (known := self.asking.known(ask)) is not None}
        open_asks = {ask.key: ask for ask in asks if ask.key not in self.outcomes}
        ended = count(len(asks) - len(open_asks) + 1)

        def on_end(question: Question, outcome: Reply | Fault) -> None:
            self.outcomes[question.mark.key] = outcome
            self.asking.keeper.record({"phase": "scoring", "rows": next(ended), "rows_total": len(asks)})

        rounds = self.asking.rounds(on_end)
        try:
            rounds.run(self._mixed(list(open_asks.values())))
        except GivenUp as error:
            raise EndpointGivenUp(f"{error.sentence} {where}{self._answered(asks)}", KINDS[error.fault.trouble]) from error
        except NoRoom as error:
            raise EndpointGivenUp(
                f"{error} {where}{self._answered(asks)} Raise the budget and try again: only those are asked.", "budget"
            ) from error
        finally:
            self.again += rounds.num_again
        self.num_asks, self.num_asked = self.num_asks + len(asks), self.num_asked + len(open_asks)
        self._refuse_without_answer(asks, where)
        return [Asked(item, ask, self.outcomes[ask.key]) for item, ask in zip(items, asks, strict=True)]

    def _mixed(self, asks: list[Ask]) -> list[Question]:
        """The requests in another order in each attempt: rows that the endpoint refuses often lie together, and would end each alike."""
        random.Random(f"{self.asking.lease.job_id} {self.asking.lease.fence}").shuffle(asks)  # noqa: S311 - an order
        return [self.asking.question_of(ask) for ask in asks]

    def _refuse_without_answer(self, asks: Sequence[Ask], where: str) -> None:
        """An endpoint that refused every row has said nothing about the prompt. A preview shows what it said beside its rows."""
        faults = [outcome for ask in asks if isinstance(outcome := self.outcomes[ask.key], Fault)]
        if faults and len(faults) == len(asks) and self.asking.job.kind != JobKind.PREVIEW:
            raise EndpointGivenUp(f"{faults[-1].sentence} {where}{self._answered(asks)}", KINDS[faults[-1].trouble])

    def _most_tokens(self, spec: RunSpec) -> int:
        """A label is short, but a model may think first; free text may need more than the endpoint's own setting."""
        asked = self.asking.limits.answer_tokens
        return max(asked, spec.generation.max_new_tokens) if spec.task == "extraction" else asked

    def _answered(self, asks: Sequence[Ask]) -> str:
        answered = EndpointCall.objects.filter(job=self.asking.job, state=CallState.ANSWERED)
        kept = set(answered.values_list("example", "request_sha256"))
        return asked_words(sum(1 for ask in asks if ask.key in kept), len(asks))

    def _prediction(self, row: Asked, readings: dict[str, int]) -> Prediction:
        prediction = Prediction(row.item.id, row.item.label, prompt=shown(row.ask.body) if self.spec.keep_prompts else None)
        if row.first:
            prediction.first_text = row.item.fields[STEP]
            prediction.first_prompt = shown(row.first[0].body) if self.spec.keep_prompts else None
        outcome = row.whole
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
                f"{counted(self._most_tokens(self.spec), 'token')}. A model that thinks before it answers needs a higher limit: "
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


def _first_texts(replies: Sequence[Reply]) -> dict[str, Any]:
    """How long the texts of the first step were, as the engine says it of its own."""
    at_limit = sum(reply.finish == "length" for reply in replies)
    return {"first_step": {"rows": len(replies), "mean_tokens": _mean([reply.output_tokens for reply in replies]), "at_limit": at_limit}}


def _merged(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {how: one.get(how, 0) + other.get(how, 0) for how in {**one, **other}}


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


def _mean(counts: Sequence[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known and len(known) == len(counts) else None

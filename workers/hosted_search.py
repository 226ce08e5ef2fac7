"""A hosted model as DSPy's searches ask it: each answer and each text is a call with a row in the ledger before it, within the budget.

What an earlier attempt of the job was answered is not asked again, so that a search that was stopped goes on without paying twice.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from django.db import connection

from experiments.services.trials import trials_record
from experiments.wording import counted
from workers.asking import KINDS, Ask, Asking, EndpointGivenUp
from workers.endpoint.client import Reply
from workers.endpoint.faults import Fault
from workers.endpoint.reading import read_label
from workers.endpoint.rounds import GivenUp, NoRoom
from workers.endpoint.wording import Dialect, cut_at_stop
from workers.engine.contract.spec import Item, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.errors import Unsupported
from workers.engine.figures.metrics import label_shares, log_loss_of
from workers.engine.figures.text_quality import exact_match, token_f1
from workers.engine.rows import read_rows
from workers.engine.search.candidate import hash_of
from workers.engine.search.optimising import WITHOUT_DSPY, Message, Said

T = TypeVar("T")
MOST_TOKENS = Callable[[RunSpec], int]


@dataclass
class HostedModel:
    """An endpoint's model for one search.

    Args:
        outcomes: what was answered so far, for whoever asks the same later in this attempt.
        most_tokens: the longest answer of a prompt.
    """

    asking: Asking
    spec: RunSpec
    dialect: Dialect
    outcomes: dict[tuple[int | None, str], Reply | Fault]
    most_tokens: MOST_TOKENS
    asked: Counter[str] = field(default_factory=Counter)
    replies: list[Reply] = field(default_factory=list)
    counted: set[tuple[int | None, str]] = field(default_factory=set)
    thread: int = field(default_factory=threading.get_ident)

    def answer(self, template: TemplateSpec, item: Item) -> Said:
        """One prompt on one row: one call. A row that the endpoint refuses counts as wrong."""
        spec = replace(self.spec, template=template, recipe=Recipe())
        ask = self.asking.ask_of(self.dialect.body(spec, item.fields, self.most_tokens(spec)), self.dialect, item)
        outcome = self.here(lambda: self._one(ask))
        if isinstance(outcome, Fault):
            return Said("", False, 0.0)
        tokens = float(outcome.input_tokens or 0)
        if spec.task == "extraction":
            text = cut_at_stop(outcome.text, spec.generation.stop)
            return Said(text, exact_match(text, item.label), token_f1(text, item.label), tokens)
        reading = read_label(outcome, {label: spec.words_of(label) for label in spec.labels})
        right = reading.label == item.label
        loss = log_loss_of(label_shares(reading.scores), item.label) if reading.scores else None
        return Said(reading.label or outcome.text.strip(), right, float(right), tokens, loss=loss)

    def write(self, messages: Sequence[Message], most_tokens: int, temperature: float) -> str:
        """Free text after a conversation; the same conversation again is asked with another seed.

        Raises:
            EndpointGivenUp: the endpoint refuses the conversation.
        """
        said = [dict(message) for message in messages]
        self.asked[hash_of(said)] += 1
        body: dict[str, Any] = {self.dialect.token_field: most_tokens, "messages": said}
        if self.dialect.has_temperature:
            body |= {"temperature": temperature, "seed": self.asked[hash_of(said)]}
        outcome = self.here(lambda: self._one(self.asking.ask_of(body, self.dialect)))
        if isinstance(outcome, Fault):
            raise EndpointGivenUp(f"DSPy asked the endpoint for a text, which it refused. {outcome.sentence}", KINDS[outcome.trouble])
        return outcome.text

    def here(self, step: Callable[[], T]) -> T:
        """A step that reads or writes rows. GEPA evaluates in a thread of its own, whose connection would stay open."""
        try:
            return step()
        finally:
            if threading.get_ident() != self.thread:
                connection.close()

    def _one(self, ask: Ask) -> Reply | Fault:
        known = self.outcomes.get(ask.key) or self.asking.known(ask)
        if known is None:
            rounds = self.asking.rounds(lambda question, outcome: self.outcomes.__setitem__(ask.key, outcome))
            try:
                rounds.run([self.asking.question_of(ask)])
            except GivenUp as error:
                raise EndpointGivenUp(f"{error.sentence} {self._so_far()}", KINDS[error.fault.trouble]) from error
            except NoRoom as error:
                raise EndpointGivenUp(f"{error} {self._so_far()} Raise the budget and try again: the search goes on.", "budget") from error
            known = self.outcomes[ask.key]
        if ask.key not in self.counted and isinstance(known, Reply):
            self.replies.append(known)
        self.counted.add(ask.key)
        self.outcomes[ask.key] = known
        return known

    def _so_far(self) -> str:
        return f"The search got {counted(len(self.replies), 'answer')}, which are kept."


def searched(asking: Asking, spec: RunSpec, outcomes: dict[tuple[int | None, str], Reply | Fault], most_tokens: MOST_TOKENS) -> Any:
    """(spec of the prompt that was found, facts, warnings) of a search on an endpoint.

    Raises:
        Unsupported: DSPy is not installed.
        EndpointGivenUp: the endpoint or the budget ended it; what was answered is kept.
    """
    try:
        from workers.engine.search.by_dspy import found_on
    except ModuleNotFoundError as error:
        if error.name not in ("dspy", "optuna"):
            raise
        raise Unsupported(WITHOUT_DSPY) from error
    assert spec.train is not None, "the spec refuses a search without train rows"
    assert spec.validation is not None, "the spec refuses a search without validation rows"
    model = HostedModel(asking, spec, Dialect.from_facts(asking.backbone.facts), outcomes, most_tokens)
    budget = spec.recipe.options["budget"]

    def told(spent: int, best: float | None) -> None:
        metrics = {"validation_accuracy": best} if best is not None else {}
        model.here(lambda: asking.keeper.record({"phase": "searching", "step": spent, "steps": budget, "metrics": metrics}))

    def tried(look: dict[str, Any]) -> None:
        model.here(lambda: trials_record(lease=asking.lease, looks=[look]))

    train, validation = (read_rows(file, spec.labels, spec.max_rows) for file in (spec.train, spec.validation))
    found = found_on(spec, model, train, validation, tried, told)
    facts = {**found.facts, "billed": billed_in_all(model.replies)}
    return replace(spec, template=found.winner.template, recipe=Recipe(), train=None, validation=None), facts, found.warnings


def billed_in_all(replies: Sequence[Reply]) -> dict[str, int | None]:
    """What the calls of a search were billed together; None where the endpoint did not say it of each."""
    counts = {"input": [reply.input_tokens for reply in replies], "output": [reply.output_tokens for reply in replies]}
    return {name: None if None in told else sum(count or 0 for count in told) for name, told in counts.items()}

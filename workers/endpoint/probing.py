"""How an endpoint is met for the first time: the ways to ask, richest first, a harmless question, and what its answer tells."""

from typing import Any

from workers.endpoint.client import Reply
from workers.endpoint.faults import Fault, Trouble
from workers.endpoint.wording import Dialect
from workers.engine.contract.spec import BackboneRef, EvaluateOn, FileRef, RunSpec
from workers.engine.contract.template_spec import TemplateSpec

# Servers refuse what they do not know, each something else: log-probabilities, the older name of the token limit, the temperature.
DIALECTS = (
    Dialect(top_logprobs=20),
    Dialect(top_logprobs=5),
    Dialect(),
    Dialect(token_field="max_completion_tokens", has_temperature=False),  # noqa: S106 - the name of a limit
    Dialect("completions", top_logprobs=5),
    Dialect("completions"),
    Dialect("completions", has_stop=False),
)
GREETING_TOKENS = 16
GREETING = RunSpec(
    id="greeting",
    backbone=BackboneRef("endpoint"),
    template=TemplateSpec(user="{{text}}"),
    evaluate=(EvaluateOn("greeting", FileRef("none")),),
    task="extraction",
)


def may_ask_otherwise(fault: Fault) -> bool:
    """Whether the same endpoint may answer when it is asked in another way: it refused the request, or stumbled over it."""
    return fault.trouble is Trouble.ROW or fault.status in (404, 405) or (fault.status or 0) >= 500


def facts_of(reply: Reply, dialect: Dialect) -> dict[str, Any]:
    """What is kept of a first meeting: how to ask from now on, and what the endpoint tells with its answers."""
    told = max((len(token) for token in reply.top), default=0)
    return {
        "family": "hosted",
        "protocol": dialect.protocol,
        "token_field": dialect.token_field,
        "has_temperature": dialect.has_temperature,
        "has_stop": dialect.has_stop,
        "top_logprobs": dialect.top_logprobs if told else 0,
        "tells_usage": reply.input_tokens is not None,
        "answered_as": reply.model,
        "seconds": round(reply.seconds, 3),
    }

"""A row in its prompt as the body of a request. The same parts in the same order as the engine's frame, in the API's two shapes.

Chat: system text, each example as a turn of its own, the row with the beginning of the answer at its end. Completions: one plain text.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.engine.contract.spec import Item, RunSpec
from workers.engine.contract.template_spec import fill
from workers.engine.errors import BadData

MOST_STOPS = 4  # more are refused by the API
TOKENS_A_MESSAGE = 16  # role marks and the like, which are billed too


@dataclass(frozen=True)
class Dialect:
    """How an endpoint wants to be asked, as its verification found.

    Args:
        protocol: "chat" or "completions".
        token_field: the name of the limit on the answer's tokens.
        has_temperature: whether the temperature may be set to 0.
        has_stop: whether plain completions may end at a line break; some servers fail on stop texts that their tokenizer lacks.
        top_logprobs: how many alternatives it tells at each token; 0 when it tells none.
    """

    protocol: str = "chat"
    token_field: str = "max_tokens"  # noqa: S105 - the name of a limit
    has_temperature: bool = True
    top_logprobs: int = 0
    has_stop: bool = True

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Dialect":
        """The dialect that a verification stored."""
        known = {name: facts[name] for name in ("protocol", "token_field", "has_temperature", "top_logprobs", "has_stop") if name in facts}
        return cls(**known)

    def body(self, spec: RunSpec, fields: Mapping[str, str], answer_tokens: int) -> dict[str, Any]:
        """The request for one row, without the model's name.

        Args:
            answer_tokens: most tokens of the answer, thinking included.
        """
        asked: dict[str, Any] = {self.token_field: answer_tokens}
        if self.has_temperature:
            asked["temperature"] = spec.generation.temperature
            if spec.generation.is_sampled:
                asked |= {"top_p": spec.generation.top_p, "seed": spec.generation.seed}
        if self.protocol == "chat":
            asked["messages"] = _messages(spec, fields)
            if self.top_logprobs:
                asked |= {"logprobs": True, "top_logprobs": self.top_logprobs}
            return asked
        asked["prompt"] = _text(spec, fields)
        if self.has_stop:
            asked["stop"] = list(spec.generation.stop[:MOST_STOPS])
        if self.top_logprobs:
            asked["logprobs"] = self.top_logprobs
        return asked


def check_columns(spec: RunSpec, item: Item) -> None:
    """Refuse a prompt that asks for a column the data lacks.

    Raises:
        BadData: names the slot.
    """
    missing = sorted(spec.template.columns() - set(item.fields))
    if missing:
        raise BadData(f"The prompt asks for {{{{{missing[0]}}}}}, but row {item.id} has no such column.")


def shown(body: Mapping[str, Any]) -> str:
    """The prompt of a request as a person reads it."""
    if "prompt" in body:
        return str(body["prompt"])
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in body["messages"])


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The answer up to the first stop text. White space before its first word stops nothing."""
    text = text.strip()
    places = [place for place in (text.find(word) for word in stop) if place >= 0]
    return text[: min(places)].rstrip() if places else text


def fingerprint(url: str, model: str, body: Mapping[str, Any]) -> str:
    """SHA-256 of everything that decides what is asked."""
    return hashlib.sha256(json.dumps([url, model, body], sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def most_input_tokens(body: Mapping[str, Any]) -> int:
    """More tokens than the request can be billed for: no token is shorter than a byte."""
    texts = [message["content"] for message in body["messages"]] if "messages" in body else [body["prompt"]]
    return sum(len(text.encode()) + TOKENS_A_MESSAGE for text in texts) + TOKENS_A_MESSAGE


def _messages(spec: RunSpec, fields: Mapping[str, str]) -> list[dict[str, str]]:
    template = spec.template
    messages = [{"role": "system", "content": fill(template.system, fields)}] if template.system else []
    for demonstration in template.demonstrations:
        asked = fill(template.user + template.answer_cue, demonstration.fields)
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": spec.words_of(demonstration.label)[0]}]
    return [*messages, {"role": "user", "content": fill(template.user + template.answer_cue, fields)}]


def _text(spec: RunSpec, fields: Mapping[str, str]) -> str:
    template = spec.template
    parts = [fill(template.system, fields) + "\n\n"] if template.system else []
    for demonstration in template.demonstrations:
        asked = fill(template.user + template.answer_cue, demonstration.fields)
        parts.append(f"{asked}{'' if asked[-1:].isspace() else ' '}{spec.words_of(demonstration.label)[0]}\n\n")
    return "".join(parts) + fill(template.user + template.answer_cue, fields).rstrip()

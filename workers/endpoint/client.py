"""One call of an OpenAI-compatible endpoint through the `openai` client: a request body in, a Reply or a Fault out.

Retries are the scheduler's (`workers.endpoint.rounds`), because each of them is written down first. Nothing here is ever logged.
"""

import email.utils
import json
import math
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

from experiments.endpoints import ForbiddenAddress, Network, endpoint_host
from experiments.wording import quoted
from workers.endpoint.faults import Fault, Trouble
from workers.endpoint.guard import AnswerTooLong, GuardedTransport
from workers.engine.contract.outcome import storable

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
NO_KEY = "none"  # servers of one's own often want no key, but the client sends the header all the same
END_OF_THINKING = "</think>"  # servers that do not set a model's thinking apart leave it in front of the answer
SAID_CHARACTERS = 200
SECRET_CHARACTERS = 12  # a shorter key, such as "EMPTY", may be a word of an answer as well
SLOWER = (408, 409, 425, 429)  # of the refusals, those that say "later"; all others say that this request is not liked
# The environment's own settings of the client belong to nobody here.
NOT_OURS: Any = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}


@dataclass(frozen=True)
class Reply:
    """What an endpoint answered.

    Args:
        top: for each token of the answer that the endpoint told, [(token, log-probability in nats)], best first.
        finish: why the answer ended, in the endpoint's word.
        input_tokens, output_tokens: what is billed, or None when the endpoint did not say.
        cached_tokens: how many of the input tokens came from the endpoint's cache; None when it did not say.
    """

    text: str
    top: tuple[tuple[tuple[str, float], ...], ...] = ()
    finish: str = ""
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0
    cached_tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What is kept of it beside its tokens and seconds."""
        return {"text": self.text, "top": self.top, "finish": self.finish, "model": self.model, "cached_tokens": self.cached_tokens}


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, for what, and with which key. The key is in no repr."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 60.0
    concurrency: int = 4
    private: Sequence[Network] = ()

    @property
    def host(self) -> str:
        return endpoint_host(self.url)


class EndpointClient:
    """Asks one endpoint. Safe to use from several threads; close it when done."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        transport = GuardedTransport(
            endpoint.private,
            is_encrypted=endpoint.url.startswith("https://"),
            seconds=endpoint.timeout_seconds,
            connections=endpoint.concurrency,
        )
        self._client = openai.OpenAI(
            base_url=endpoint.url,
            api_key=endpoint.key or NO_KEY,
            max_retries=0,
            # Neither redirects nor the environment's proxies: both would carry the key to a host that nobody named.
            http_client=httpx2.Client(transport=transport, follow_redirects=False, trust_env=False, timeout=endpoint.timeout_seconds),
            default_headers={"Accept-Encoding": "identity", **NOT_OURS},
        )

    def ask(self, protocol: str, body: Mapping[str, Any]) -> Reply:
        """Ask once.

        Args:
            protocol: "chat" or "completions".
        Raises:
            Fault: there is no usable answer.
        """
        started = time.perf_counter()
        try:
            answer = self._client.post(PATHS[protocol], cast_to=httpx2.Response, body={"model": self.endpoint.model, **body})
        except ForbiddenAddress as error:
            raise Fault(Trouble.FINAL, str(error)) from error
        except openai.APIStatusError as error:
            raise self._status_fault(error) from None  # the client's own error carries the request, and with it the key
        except (openai.APIError, httpx2.HTTPError) as error:
            raise self._network_fault(error) from None
        seconds = time.perf_counter() - started
        try:
            return read_reply(self._without_secret(answer.content), protocol, seconds)
        except NoReply:
            raise self._garbled_fault(answer.content) from None

    def close(self) -> None:
        self._client.close()

    def _status_fault(self, error: openai.APIStatusError) -> Fault:
        status, host = error.status_code, self.endpoint.host
        told = message_in(error.response.content)
        said = self._said(told)
        if 300 <= status < 400:
            to = quoted(self._without_key(error.response.headers.get("location", "elsewhere")), limit=100)
            return Fault(
                Trouble.FINAL, f"The endpoint {host} sends on to {to}, which is not followed. Give that address itself.", status=status
            )
        if status == 402 or "insufficient_quota" in told:
            return Fault(Trouble.FINAL, f"The account at {host} has no credit left{said}. Top it up, then try again.", status=status)
        if status in FINAL:
            return Fault(Trouble.FINAL, FINAL[status].format(host=host, model=quoted(self.endpoint.model), said=said), status=status)
        if 400 <= status < 500 and status not in SLOWER:
            return Fault(Trouble.ROW, f"The endpoint {host} refused the request ({status}){said}.", status=status)
        what = "asks to be called more slowly" if status == 429 else "could not answer"
        retry_after = _retry_after(error.response.headers)
        may_be_billed = status >= 500 and status != 503
        return Fault(
            Trouble.BUSY,
            f"The endpoint {host} {what} ({status}){said}.",
            retry_after=retry_after,
            may_be_billed=may_be_billed,
            status=status,
        )

    def _network_fault(self, error: Exception) -> Fault:
        host, seconds = self.endpoint.host, self.endpoint.timeout_seconds
        causes = list(_causes(error))
        if any(isinstance(cause, AnswerTooLong) for cause in causes):
            sentence = f"The endpoint {host} sent more than an answer can hold. Check its address, and the tokens that an answer may have."
            return Fault(Trouble.GARBLED, sentence, may_be_billed=True)
        if forbidden := next((cause for cause in causes if isinstance(cause, ForbiddenAddress)), None):
            return Fault(Trouble.FINAL, str(forbidden))
        if tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
            return self._tls_fault(tls)
        if any(isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout) for cause in causes):
            return Fault(Trouble.BUSY, f"The endpoint {host} cannot be reached. Check its address and whether it runs.")
        if any(isinstance(cause, httpx2.TimeoutException) for cause in causes):
            return Fault(Trouble.BUSY, f"The endpoint {host} gave no answer within {seconds:g} seconds.", may_be_billed=True)
        return Fault(Trouble.BUSY, f"The endpoint {host} broke off in the middle of its answer.", may_be_billed=True)

    def _tls_fault(self, error: ssl.SSLError) -> Fault:
        host = self.endpoint.host
        if isinstance(error, ssl.SSLCertVerificationError):
            sentence = f"The certificate of the endpoint {host} is not trusted ({error.verify_message}). Check the address, or ask whoever "
            return Fault(Trouble.FINAL, sentence + "runs this installation to trust who signed it.")
        if error.reason == "WRONG_VERSION_NUMBER":
            return Fault(Trouble.FINAL, f"The endpoint {host} does not speak https at this address. Check the address and its port.")
        return Fault(Trouble.BUSY, f"The endpoint {host} cannot be reached: no encrypted connection came about. Check its address.")

    def _garbled_fault(self, content: bytes) -> Fault:
        host, told = self.endpoint.host, message_in(content)
        if content.lstrip()[:1] == b"<":
            sentence = f"The endpoint {host} answered with a web page instead of JSON. Check the address; it often ends in /v1."
        elif told.strip():
            sentence = f"The endpoint {host} answered with an error in place of an answer{self._said(told)}."
        else:
            sentence = (
                f"The endpoint {host} answered with something that is no answer of an OpenAI-compatible API. "
                "Check the address and the server."
            )
        return Fault(Trouble.GARBLED, sentence, may_be_billed=True)

    def _said(self, told: str) -> str:
        """The endpoint's own words, as the end of a sentence, shortened and without a key that it repeats; empty when there are none."""
        return f": {quoted(self._without_key(told), limit=SAID_CHARACTERS)}" if told.strip() else ""

    def _without_key(self, text: str) -> str:
        return text.replace(self.endpoint.key, "[key]") if self.endpoint.key else text

    def _without_secret(self, content: bytes) -> bytes:
        """An answer without a key that it repeats, as a server that mirrors its requests does: answers are shown and exported."""
        key = self.endpoint.key or ""
        return content.replace(key.encode(), b"[key]") if len(key) >= SECRET_CHARACTERS else content


FINAL = {
    401: "The endpoint {host} does not accept the key (401){said}. Enter a valid key for this model.",
    403: "The endpoint {host} does not let this key use the model {model} (403){said}. Use another key or model.",
    404: "The endpoint {host} has no model {model} at this address (404){said}. Check the model's name, and that the address ends as its "
    "manual says, often in /v1.",
    405: "There is no API of this kind at the endpoint {host} (405). Check the address; it often ends in /v1.",
}


class NoReply(ValueError):
    """The body is a web page, no JSON, or JSON of another kind."""


def read_reply(content: bytes, protocol: str, seconds: float) -> Reply:
    """The answer in a body that came with a good status.

    Raises:
        NoReply: there is none in it.
    """
    try:
        value = json.loads(content.decode("utf-8"))
        choice = value["choices"][0]
        text = choice["message"]["content"] if protocol == "chat" else choice["text"]
        if not isinstance(text, str | None):
            raise TypeError
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise NoReply from None
    usage = value.get("usage") if isinstance(value.get("usage"), dict) else {}
    details = usage.get("prompt_tokens_details")
    return Reply(
        text=storable(text or "").rpartition(END_OF_THINKING)[2],
        top=_top(choice.get("logprobs"), protocol),
        finish=storable(str(choice.get("finish_reason") or ""))[:40],
        model=storable(str(value.get("model") or ""))[:200],
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        seconds=seconds,
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
    )


def _top(logprobs: Any, protocol: str) -> tuple[tuple[tuple[str, float], ...], ...]:
    """The alternatives at each token, in one shape for both protocols; empty when there are none or they make no sense."""
    try:
        if not isinstance(logprobs, dict):
            return ()
        if protocol == "chat":
            tokens = [[(one["token"], one["logprob"]) for one in token["top_logprobs"]] for token in logprobs["content"] or ()]
        else:
            tokens = [list(token.items()) for token in logprobs["top_logprobs"] or ()]
        return tuple(_alternatives(token) for token in tokens)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return ()


def _alternatives(token: list[tuple[Any, Any]]) -> tuple[tuple[str, float], ...]:
    known = [(storable(str(word)), float(value)) for word, value in token]
    return tuple(sorted((pair for pair in known if math.isfinite(pair[1]) and pair[1] <= 1e-3), key=lambda pair: -pair[1]))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def message_in(content: bytes) -> str:
    """What an endpoint says about itself in a body of JSON; empty when it says nothing or the body is none."""
    try:
        value = json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict | str):
        return ""
    for key in ("error", "detail"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    if isinstance(value, dict):
        value = " ".join(str(value[key]) for key in ("message", "code") if value.get(key))
    return storable(value if isinstance(value, str) else json.dumps(value))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait: retry-after-ms, or Retry-After in seconds or as a date."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    try:
        moment = email.utils.parsedate_tz(headers.get("retry-after") or "")
        return max(0.0, email.utils.mktime_tz(moment) - time.time()) if moment else None
    except (ValueError, OverflowError):  # a day that no calendar has
        return None


def _causes(error: BaseException | None) -> Any:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

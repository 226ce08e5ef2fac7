"""One call: what each way of misbehaving becomes. The servers are real, the network is loopback."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from experiments.endpoints import networks_of
from tests.workers.endpoint.server import Answer, completion
from workers.endpoint.client import Endpoint, EndpointClient, Reply
from workers.endpoint.faults import Fault, Trouble

KEY = "sk-secret-of-a-test"
LOOPBACK = networks_of(["127.0.0.0/8", "::1"])
BODY = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
# As OpenAI says it: what decides stands at the end of a long message.
OUT_OF_CREDIT = {
    "error": {
        "message": "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
        "read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "type": "insufficient_quota",
        "code": "insufficient_quota",
    }
}


def ask(url: str, *, private=LOOPBACK, seconds: float = 5.0) -> Reply:
    client = EndpointClient(Endpoint(url, "tiny", KEY, timeout_seconds=seconds, private=private))
    try:
        return client.ask("chat", BODY)
    finally:
        client.close()


def fault_of(url: str, **how) -> Fault:
    with pytest.raises(Fault) as caught:
        ask(url, **how)
    return caught.value


def test_good_answer_brings_text_tokens_and_alternatives(server):
    server.always(Answer(completion("refund", top=[[("ref", -0.1), ("del", -2.0)]])))

    reply = ask(server.url)

    assert (reply.text, reply.input_tokens, reply.output_tokens, reply.model) == ("refund", 10, 2, "tiny-1")
    assert reply.top == ((("ref", -0.1), ("del", -2.0)),)
    assert (server.asked[0]["model"], server.keys[0], server.paths[0]) == ("tiny", f"Bearer {KEY}", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("answer", "trouble", "words"),
    [
        (Answer(b"<!doctype html><html>hello</html>"), Trouble.GARBLED, "a web page instead of JSON"),
        (Answer(b"\x00\xff\xfe garbage"), Trouble.GARBLED, "no answer of an OpenAI-compatible API"),
        (Answer(b'{"choices": []}'), Trouble.GARBLED, "no answer of an OpenAI-compatible API"),
        (Answer(b"[" * 100_000), Trouble.GARBLED, "no answer of an OpenAI-compatible API"),
        (Answer(b"x" * (5 * 2**20)), Trouble.GARBLED, "more than an answer can hold"),
        (Answer({"error": {"message": "No such model"}}, 404), Trouble.FINAL, "has no model “tiny” at this address (404): “No such model”"),
        (Answer({"error": {"message": f"Bad key {KEY}"}}, 401), Trouble.FINAL, "does not accept the key (401): “Bad key [key]”"),
        (Answer({"error": "no"}, 403), Trouble.FINAL, "does not let this key use the model"),
        (Answer({"error": {"message": "quota", "code": "insufficient_quota"}}, 429), Trouble.FINAL, "has no credit left"),
        (Answer(b"", 307, {"Location": "http://elsewhere.example/v1"}), Trouble.FINAL, "sends on to “http://elsewhere.example/v1”"),
        (Answer({"detail": "too long"}, 422), Trouble.ROW, "refused the request (422): “too long”"),
        (Answer(b"", 429, {"Retry-After": "7"}), Trouble.BUSY, "asks to be called more slowly (429)"),
        (Answer(b"<html>", 502), Trouble.BUSY, "could not answer (502)."),
        (Answer(OUT_OF_CREDIT, 429), Trouble.FINAL, "has no credit left: “You exceeded your current quota"),
        (
            Answer({"error": {"message": "No provider left", "code": 502}}),
            Trouble.GARBLED,
            "in place of an answer: “No provider left 502”.",
        ),
        (Answer(b"null"), Trouble.GARBLED, "no answer of an OpenAI-compatible API"),
        (Answer({"error": "gone"}, 410), Trouble.ROW, "refused the request (410): “gone”."),
        (Answer(b"", 307, {"Location": f"http://e.example/?{KEY}"}), Trouble.FINAL, "sends on to “http://e.example/?[key]”"),
    ],
)
def test_misbehaviour_becomes_one_sentence_without_the_key(server, answer, trouble, words):
    server.always(answer)

    fault = fault_of(server.url)

    assert fault.trouble is trouble
    assert words in fault.sentence
    assert KEY not in fault.sentence
    assert len(server.asked) == 1


@pytest.mark.parametrize("charset", ["hex", "rot13", "idna", "utf-16", "undefined", "no such"])
def test_coding_that_a_refusal_names_is_not_believed(server, charset):
    server.always(Answer({"error": {"message": "too long"}}, 400, {"Content-Type": f"application/json; charset={charset}"}))

    assert fault_of(server.url).sentence.endswith("refused the request (400): “too long”.")


@pytest.mark.parametrize("value", ["null", "NaN", "-Infinity", "1" * 400, "{}", '"high"', "true"])
def test_log_probability_that_is_none_tells_nothing_and_loses_no_answer(server, value):
    body = json.dumps(completion("refund", top=[[("x", -0.25)]]))
    server.always(Answer(body.replace("-0.25", value).encode()))

    reply = ask(server.url)

    assert (reply.text, [pair for token in reply.top for pair in token]) == ("refund", [])


def test_what_every_database_keeps_is_left_of_an_answer(server):
    server.always(Answer({"model": "a\0", "choices": [{"message": {"content": "b\ud800"}, "finish_reason": "c\0\udfff"}]}))

    reply = ask(server.url)

    assert (reply.model, reply.text, reply.finish) == ("a\ufffd", "b?", "c\ufffd?")


@pytest.mark.parametrize(
    "thinking", ["<think>\nA card, or a refund?\n</think>\n\n", "A card?</think>"], ids=["whole", "begun in the prompt"]
)
def test_thinking_in_front_of_an_answer_is_not_part_of_it(server, thinking):
    server.always(Answer(completion(f"{thinking}refund")))

    assert ask(server.url).text.strip() == "refund"


def test_answer_that_repeats_the_key_is_kept_without_it(server):
    server.always(Answer(completion(f"You sent Bearer {KEY}")))

    assert ask(server.url).text == "You sent Bearer [key]"


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "a..example"])
def test_name_that_cannot_be_one_is_said_not_to_be_reached(host):
    fault = fault_of(f"http://{host}/v1")

    assert (fault.trouble, fault.may_be_billed) == (Trouble.BUSY, False)
    assert "cannot be reached" in fault.sentence


@pytest.fixture
def encrypted(server, tmp_path) -> str:
    """The address of the server behind a certificate that nobody has signed but itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "served.pem").write_bytes(signed.public_bytes(Encoding.PEM) + private)
    server.encrypt(tmp_path / "served.pem")
    return f"https://localhost:{server.port}/v1"


def test_certificate_that_is_not_trusted_is_named_and_gets_no_key(server, encrypted):
    fault = fault_of(encrypted)

    assert fault.trouble is Trouble.FINAL
    assert f"The certificate of the endpoint localhost:{server.port} is not trusted (self-signed certificate)." in fault.sentence
    assert server.asked == []


def test_server_without_encryption_behind_https_is_named(server):
    fault = fault_of(server.url.replace("http://", "https://"))

    assert (fault.trouble, fault.may_be_billed) == (Trouble.FINAL, False)
    assert "does not speak https at this address" in fault.sentence


@pytest.mark.parametrize("answer", [Answer(silent=30.0), Answer(drip=0.2)], ids=["silent", "dripping"])
def test_endpoint_that_hangs_is_left_at_the_deadline(server, answer):
    server.always(answer)

    fault = fault_of(server.url, seconds=0.3)

    assert (fault.trouble, fault.may_be_billed) == (Trouble.BUSY, True)
    assert "no answer within 0.3 seconds" in fault.sentence


@pytest.mark.parametrize(("status", "connections"), [(500, 2), (400, 1)])
def test_connection_on_which_the_endpoint_stumbled_is_not_used_again(server, status, connections):
    """Servers close it a moment after their answer, so that the next request would be lost on it and count as perhaps billed."""
    server.always(Answer(b"", status))
    client = EndpointClient(Endpoint(server.url, "tiny", KEY, private=LOOPBACK))

    for _ in range(2):
        with pytest.raises(Fault):
            client.ask("chat", BODY)

    client.close()
    assert len(server.connections) == connections


@pytest.mark.parametrize(("details", "cached"), [({"cached_tokens": 8}, 8), ({"cached_tokens": -1}, None), (["odd"], None), (None, None)])
def test_tokens_from_the_endpoints_cache_are_read_where_it_tells_them(server, details, cached):
    body = completion()
    body["usage"]["prompt_tokens_details"] = details
    server.always(Answer(body))

    assert ask(server.url).cached_tokens == cached


def test_endpoint_that_does_not_run_is_named(server):
    server.close()

    fault = fault_of(server.url)

    assert (fault.trouble, fault.may_be_billed) == (Trouble.BUSY, False)
    assert f"127.0.0.1:{server.port} cannot be reached" in fault.sentence


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1e999"}, None),
        ({"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"}, None),
    ],
)
def test_time_that_the_endpoint_asks_for_is_read(server, header, seconds):
    server.always(Answer(b"", 429, header))

    assert fault_of(server.url).retry_after == seconds


def test_moment_that_the_endpoint_asks_for_is_read(server):
    server.always(Answer(b"", 503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))

    assert fault_of(server.url).retry_after == 0.0


def test_key_is_in_no_text_of_the_endpoint():
    assert KEY not in repr(Endpoint("https://api.example.com/v1", "m", KEY))

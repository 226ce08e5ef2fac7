"""Requests as JSON lines: each gets its line back, a wrong one with a sentence."""

import json

import pytest

from workers.engine.contract.requests import Reply, answer_lines


def answer(requests):
    return [Reply(each.id, each.prompt, text=each.fields["text"]) for each in requests]


def test_every_line_gets_its_reply_in_order():
    lines = [json.dumps({"id": str(number), "prompt": "p", "fields": {"text": "é"}}) for number in range(600)]

    replies = [json.loads(line) for line in answer_lines(lines, answer)]

    assert replies == [{"id": str(number), "prompt": "p", "text": "é"} for number in range(600)]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "Line 3 is not JSON"),
        ("[]", 'Line 3 must be an object with the texts "id" and "prompt" and the object "fields".'),
        ('{"id": "1", "prompt": "p", "fields": {"text": 7}}', "Line 3 has the column 'text', which must be text, not int."),
    ],
)
def test_a_line_that_is_no_request_says_why_and_stops_nothing(line, sentence):
    good = json.dumps({"id": "1", "prompt": "p", "fields": {"text": "x"}})

    replies = [json.loads(reply) for reply in answer_lines([good, "", line, good], answer)]

    assert replies[1]["error"].startswith(sentence)
    assert [reply.get("text") for reply in replies] == ["x", None, "x"]

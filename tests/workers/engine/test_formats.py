import time

import pytest

from workers.engine.answer_rules import AnswerFormat
from workers.engine.errors import BadSpec
from workers.engine.formats import FormatChecker

SCHEMA = {"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}, "code": {"pattern": "^[A-Z]+$"}}}


def problem(text, **asked):
    return FormatChecker(AnswerFormat(**asked)).problem(text)


def test_an_answer_that_keeps_the_form_has_no_problem():
    assert problem('{"total": 12.5, "code": "AB"}', json_schema=SCHEMA, pattern=r"\{.*\}", max_characters=40) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("total: 12", "It is not JSON."),
        ('{"total": NaN}', "It is not JSON."),
        ("[" * 100_000, "It is not JSON."),
        ('{"code": "AB"}', "It breaks the schema’s rule “required”."),
        ('{"total": "12"}', "['total'] breaks the schema’s rule “type”."),
        ('{"total": 1, "code": "ab"}', "['code'] breaks the schema’s rule “pattern”."),
    ],
)
def test_the_rule_of_a_schema_that_is_broken_is_named(text, sentence):
    assert problem(text, json_schema=SCHEMA) == sentence


def test_the_pattern_is_matched_against_the_whole_answer():
    assert problem("AB-12 and more", pattern=r"[A-Z]+-\d+") == "It does not match the pattern."


def test_lengths_are_counted_in_characters():
    assert problem("é", min_characters=2) == "It has 1 characters, fewer than 2."
    assert problem("ééé", max_characters=2) == "It has 3 characters, more than 2."


def test_a_pattern_that_backtracks_without_end_is_given_up_after_a_few_answers():
    checker = FormatChecker(AnswerFormat(pattern=r"(?:(x+x+)+\1)+[yz]\d"))
    checker._timeouts = 9
    endless = "x" * 60 + "y1a"

    assert checker.problem(endless) == "The pattern took longer than 0.5 seconds."
    assert checker.problem(endless) == "It was not matched: the pattern took too long on earlier answers."


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"pattern": "("}, "no regular expression"),
        ({"json_schema": {"type": "thing"}}, "is not valid"),
        ({"json_schema": {"patternProperties": {"(x+)+y": {}}}}, "patternProperties"),
    ],
)
def test_a_form_that_nothing_could_keep_is_refused(asked, sentence):
    with pytest.raises(BadSpec, match=sentence):
        FormatChecker(AnswerFormat(**asked))


def test_a_schema_never_fetches_from_elsewhere():
    started = time.monotonic()

    assert "cannot be applied" in problem("{}", json_schema={"$ref": "http://192.0.2.1/schema.json"})
    assert time.monotonic() - started < 30  # a connection to that address would hang far longer


def test_a_schema_that_refers_to_itself_without_end_is_a_problem_of_the_answer_not_a_crash():
    assert "cannot be applied" in problem("{}", json_schema={"$ref": "#"})

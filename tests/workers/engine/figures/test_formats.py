import json

import pytest

from workers.engine.contract.answer_rules import AnswerFormat
from workers.engine.errors import BadSpec
from workers.engine.figures.formats import FormatChecker

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


@pytest.mark.parametrize("reference", ["http://192.0.2.1/schema.json", "#/$defs/missing", "https://json-schema.org/draft/2020-12/schema"])
def test_a_reference_that_the_schema_does_not_hold_is_refused_and_never_fetched(reference):
    with pytest.raises(BadSpec, match="which it does not hold"):
        FormatChecker(AnswerFormat(json_schema={"properties": {"total": {"$ref": reference}}}))


def test_references_inside_the_schema_are_followed():
    schema = {"$id": "https://x.org/a", "$defs": {"code": {"$anchor": "code", "type": "string"}}, "properties": {"code": {"$ref": "#code"}}}

    assert problem('{"code": "AB"}', json_schema=schema) is None
    assert problem('{"code": 5}', json_schema=schema) == "['code'] breaks the schema’s rule “type”."


ENDLESS = {"pattern": r"^(?:(x+x+)+\1)+[yz]\d$"}
DRAFT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"code": ENDLESS}},
        DRAFT | {"properties": {"inner": {"$ref": "#"}, "code": ENDLESS}},
        {"properties": {"code": DRAFT | ENDLESS}},
    ],
    ids=["plain", "refers to itself", "names its draft again"],
)
def test_a_pattern_in_a_schema_has_a_time_limit_wherever_it_stands(schema):
    checker = FormatChecker(AnswerFormat(json_schema=schema))
    checker._timeouts = 9
    answer = json.dumps({"inner": {"code": "x" * 60 + "y1a"}, "code": "x" * 60 + "y1a"})

    assert checker.problem(answer) == "The schema took longer than 0.5 seconds."
    assert checker.problem(answer) == "It was not checked: the schema took too long on earlier answers."


def test_references_that_multiply_have_the_same_limit():
    twice = {f"a{at}": {"allOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(40)}

    assert "took longer" in problem("{}", json_schema={"$defs": {**twice, "a40": {}}, "$ref": "#/$defs/a0"})


@pytest.mark.parametrize("wrong", [{"json_schema": True}, {"pattern": 5}, {"max_characters": "9"}, {"min_characters": 1.5}])
def test_a_form_of_the_wrong_kind_is_refused(wrong):
    with pytest.raises(BadSpec, match=f"answer_format.{next(iter(wrong))}"):
        AnswerFormat(**wrong)


def test_a_schema_that_refers_to_itself_without_end_is_a_problem_of_the_answer_not_a_crash():
    assert "cannot be applied" in problem("{}", json_schema={"$ref": "#"})

"""Slots are names and nothing else: found, checked and filled without any template language."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.prompting.slots import slot_iterate, slot_names, slot_problems
from experiments.prompting.wording import FilledTooLong, SlotUnfilled, pieces_fill


def filled(text, fields, limit=10_000_000):
    return "".join(piece.text for piece in pieces_fill(text, fields, limit=limit))


def test_slots_are_found_with_their_places():
    slots = list(slot_iterate("Say {{ text }} in {{language}}."))

    assert [(slot.name, slot.start, slot.end) for slot in slots] == [("text", 4, 14), ("language", 18, 30)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{text}} {{ text }} {{label}}", ("text", "label")),
        ("{{customer message}}", ("customer message",)),
        ("{{{text}}}", ("text",)),
        ("{{ see {{text}}", ("text",)),
        ("{text} {{}} {{  }} {{a{b}} {{a\nb}} {{open", ()),
        ("}}{{", ()),
    ],
)
def test_only_names_between_double_braces_are_slots(text, names):
    assert slot_names(text) == names


def test_filling_keeps_everything_else_as_it_was_written():
    assert filled("{ {{text}} } %s {0} {{}}", {"text": "hello"}) == "{ hello } %s {0} {{}}"


def test_values_are_never_read_again_for_slots():
    assert filled("{{text}}{{label}}", {"text": "{{label}}", "label": "{{text}}"}) == "{{label}}{{text}}"


@pytest.mark.parametrize("payload", ["{{7*7}}", "{{ self.__class__ }}", "{% for x in y %}", "{0.__class__}", "${7*7}", "{{text|upper}}"])
def test_no_expression_is_evaluated(payload):
    with_value = filled("{{text}}", {"text": payload})

    assert with_value == payload
    with contextlib.suppress(SlotUnfilled):
        assert filled(payload, {"text": "secret"}) == payload


def test_an_unknown_slot_is_named_with_the_column_that_was_meant():
    with pytest.raises(SlotUnfilled, match=r"The slot \{\{texte\}\} has no column in the data\. Did you mean \{\{text\}\}\?"):
        filled("{{texte}}", {"text": "hello"})


def test_a_filled_prompt_has_a_limit():
    with pytest.raises(FilledTooLong, match="longer than the 1,000,000 characters"):
        filled("{{text}}" * 1_000, {"text": "a" * 100_000}, limit=1_000_000)


def test_problems_name_missing_unknown_and_answer_slots():
    assert slot_problems(["", "Answer:"], columns=["message"]) == (
        "The prompt has no slot, so every row would give the same answer. Write {{message}} where the row's text goes.",
    )
    assert slot_problems(["{{Message}}"], columns=["message"]) == (
        "The slot {{Message}} has no column in the data. Did you mean {{message}}?",
    )
    assert slot_problems(["{{queue}} {{message}}"], columns=["message"], hidden=["queue"]) == (
        "The slot {{queue}} would show the answer to the model. Remove it from the prompt.",
    )
    assert slot_problems(["You help.", "{{message}}"], columns=["message"]) == ()


@pytest.mark.parametrize(
    ("text", "columns", "remedy"),
    [
        ("{{text}}", ["message"], "Write {{message}} instead."),
        ("{{text}}", ["message", "title"], "Write {{message}} or {{title}} instead."),
        ("{{titel}}", ["message", "title"], "Did you mean {{title}}? The slots are {{message}} and {{title}}."),
        ("{{zz}}", [f"c{number}" for number in range(40)], "{{c6}} or 33 more instead."),
    ],
)
def test_a_slot_without_a_column_says_what_to_write(text, columns, remedy):
    [problem] = slot_problems([text], columns=columns)

    assert problem.startswith(f"The slot {text} has no column in the data. ")
    assert problem.endswith(remedy)


def test_a_prompt_without_a_slot_is_offered_every_slot_of_the_data():
    [problem] = slot_problems(["Which queue?"], columns=["title", "message"])

    assert problem.endswith("Write {{title}} or {{message}} where the row's text goes.")


def test_a_thousand_unknown_slots_are_summed_up():
    problems = slot_problems(["".join(f"{{{{no{number}}}}}" for number in range(1_000))], columns=["text"])

    assert len(problems) == 11
    assert problems[-1] == "990 more slots cannot be filled."


@given(st.text("{}ab \n", max_size=60))
def test_the_text_is_its_slots_and_what_lies_between(text):
    names = slot_names(text)

    assert filled(text, {name: "{{" + name + "}}" for name in names}).replace(" ", "") == text.replace(" ", "")


@given(st.text("{}ab \t\n", max_size=40))
def test_the_rule_is_the_documented_pattern(text):
    pattern = re.compile(r"\{\{([^{}\r\n]{1,200})\}\}")

    assert [slot.name for slot in slot_iterate(text)] == [name for found in pattern.findall(text) if (name := found.strip(" \t"))]


@pytest.mark.parametrize("hostile", ["{{" * 500_000, "{{}}" * 250_000, "{{a}b}} " * 125_000, "{" * 999_998 + "}}", "}}" * 500_000])
def test_hostile_text_stays_as_it_was(hostile):
    # Linear takes a second at most; quadratic would take hours, and nobody would miss that.
    assert filled(hostile, {"": "x", "a": "x"}) == hostile

"""The web and the engine fill the same slots: each has the rule for itself, since neither may import the other."""

from hypothesis import given
from hypothesis import strategies as st

from experiments.prompting import chains
from experiments.prompting.slots import slot_names
from experiments.prompting.wording import pieces_fill
from workers.engine.contract import template_spec

PIECES = st.lists(st.sampled_from(["{{", "}}", "{", "}", "text", " ", "\t", "\n", "é", "{{ text }}", "{{}}", "x" * 150]), max_size=12)


@given(PIECES.map("".join))
def test_both_find_the_same_slots(text):
    assert tuple(dict.fromkeys(template_spec.slot_names(text))) == slot_names(text)


def test_both_have_the_same_slot_for_the_text_of_a_first_step():
    assert chains.STEP == template_spec.STEP


@given(PIECES.map("".join))
def test_both_fill_them_the_same_way(text):
    fields = {name: f"<{name}>{{{{text}}}}" for name in slot_names(text)}

    assert template_spec.fill(text, fields) == "".join(piece.text for piece in pieces_fill(text, fields))

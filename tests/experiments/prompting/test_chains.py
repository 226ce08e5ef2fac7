"""What a first step may say, and what the prompt that answers must show."""

import pytest

from experiments.prompting.chains import FirstStep, columns_asked
from experiments.prompting.wording import DataShape, PromptWording, first_step_fill, row_fill, wording_lines, wording_problems

SHAPE = DataShape(columns=["text"], hidden=["queue"], labels=["refund", "delivery"])
THINK = FirstStep("What does the customer want? {{text}}")
GOOD = PromptWording(user="Wish: {{step_1}}\nMessage: {{text}}", answer_cue="Queue:", first_step=THINK)


def test_two_steps_that_fit_together_have_no_problem():
    assert wording_problems(GOOD, SHAPE) == []
    assert wording_problems(GOOD, None) == []


@pytest.mark.parametrize(
    ("user", "first", "sentence"),
    [
        ("{{text}}", THINK, "does not show what the first step wrote. Write {{step_1}}"),
        ("{{step_1}} {{text}}", None, "shows {{step_1}}, the text of a first step, but has none."),
        ("{{step_1}}", FirstStep("Think."), "The first step has no slot"),
        ("{{step_1}}", FirstStep("{{step_1}} {{text}}"), "The first step cannot show {{step_1}}"),
        ("{{step_1}}", FirstStep("{{txt}}"), "First step: The slot {{txt}} has no column in the data. Did you mean {{text}}?"),
        ("{{step_1}}", FirstStep("{{text}} {{queue}}"), "First step: The slot {{queue}} would show the answer"),
        ("{{step_1}} {{nope}}", THINK, "The slot {{nope}} has no column"),
        ("{{step_1}}", FirstStep("{{text}}", max_tokens=0), "from 1 to 1,024"),
        ("{{step_1}}", FirstStep("{{text}}", max_tokens=4_000), "may write 4,000 tokens"),
        ("{{step_1}}", FirstStep("{{text}}", stop=("x" * 200,)), "at most 16 stop texts"),
        ("{{step_1}}", FirstStep("{{text}}", stop=("a\0",)), "NUL or half of a character"),
        ("{{step_1}}", FirstStep("{{text}}" + "x" * 50_000), "more than the 50,000 allowed"),
    ],
)
def test_steps_that_cannot_work_are_refused_in_one_sentence(user, first, sentence):
    problems = wording_problems(PromptWording(user=user, first_step=first), SHAPE)

    assert len(problems) == 1
    assert sentence in problems[0]


def test_a_column_with_the_name_of_the_slot_is_refused():
    problems = wording_problems(GOOD, DataShape(columns=["text", "step_1"]))

    assert problems == [
        "The data has a column named step_1, and so is the slot of the first step. Name the column otherwise, or leave the step out."
    ]


def test_without_a_first_step_such_a_column_is_a_column_like_any_other():
    assert wording_problems(PromptWording(user="{{step_1}}"), DataShape(columns=["step_1"])) == []


def test_a_prompt_of_one_step_keeps_the_hash_that_it_had():
    plain = PromptWording(user="Which queue?\n{{text}}", answer_cue="\nQueue:")

    assert plain.sha256 == "12afca6e7eae9090755a3885248cee249e943667278998e7d3fe8b64aa7c4616"
    assert GOOD.sha256 != PromptWording(user=GOOD.user, answer_cue=GOOD.answer_cue).sha256
    assert GOOD.sha256 != PromptWording(user=GOOD.user, answer_cue=GOOD.answer_cue, first_step=FirstStep(THINK.text, 9)).sha256


def test_a_row_fills_both_steps():
    fields = {"text": "my parcel"}

    assert "".join(piece.text for piece in first_step_fill(GOOD, fields)) == "What does the customer want? my parcel"
    assert "".join(piece.text for piece in row_fill(GOOD.ordered(), fields)) == (
        "Wish: [what the model writes in the first step]\nMessage: my parcel\nQueue:"
    )


def test_both_steps_are_lines_that_can_be_compared():
    assert wording_lines(GOOD)[:2] == [f"First step: {THINK.text}", "First step ends after 48 tokens or at the end of the line"]


def test_a_step_is_stored_with_plain_line_ends_and_each_stop_once():
    typed = FirstStep("Think\r\n{{text}}", 5, ("\n", "", "\n", "##"))

    assert typed.ordered() == FirstStep("Think\n{{text}}", 5, ("\n", "##"))
    assert FirstStep.from_json(typed.ordered().to_json()) == typed.ordered()
    assert FirstStep.from_json({}) is None


def test_the_columns_of_both_steps_are_asked_for_and_the_slot_between_them_is_none():
    assert columns_asked(THINK, "Wish: {{step_1}}", "{{subject}}") == {"text", "subject"}
    assert columns_asked(None, "{{step_1}} {{text}}") == {"step_1", "text"}

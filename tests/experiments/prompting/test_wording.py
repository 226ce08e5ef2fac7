import pytest

from experiments.prompting.wording import DataShape, PromptWording, demonstrations_fill, row_fill, wording_lines, wording_problems

SHAPE = DataShape(columns=["text"], hidden=["queue"], labels=["refund", "delivery"])
GOOD = PromptWording(user="Which queue?\n{{text}}", answer_cue="Queue:")


def shown(label: str = "refund") -> dict[str, object]:
    return {"example": 1, "fields": {"text": "money back"}, "label": label}


def test_a_good_wording_has_no_problem():
    assert wording_problems(GOOD, SHAPE) == []


def test_the_answer_stands_on_a_line_of_its_own_whatever_line_ends_were_typed():
    typed = PromptWording(user="Which?\r\n{{text}}", answer_cue="Queue: ").ordered()

    assert (typed.user, typed.answer_cue) == ("Which?\n{{text}}", "\nQueue:")
    assert PromptWording(user="{{text}}\n", answer_cue="Queue:").ordered().answer_cue == "Queue:"
    assert GOOD.ordered().ordered() == GOOD.ordered()


def test_words_that_say_nothing_are_not_kept():
    wording = PromptWording(user="{{text}}", answer_words={"refund": ["refund"], "delivery": [" parcel ", "parcel", ""]})

    assert wording.ordered().answer_words == {"delivery": ["parcel"]}


def test_equal_wordings_have_equal_hashes():
    assert GOOD.ordered().sha256 == PromptWording(user="Which queue?\r\n{{text}}", answer_cue="Queue:").ordered().sha256
    assert GOOD.sha256 != PromptWording(user=GOOD.user, answer_cue="Answer:").sha256


@pytest.mark.parametrize(
    ("wording", "sentence"),
    [
        (PromptWording(user="Which queue?"), "has no slot"),
        (PromptWording(user="{{txt}}"), "Did you mean {{text}}?"),
        (PromptWording(user="{{text}} {{queue}}"), "would show the answer"),
        (PromptWording(user="{{text}}", answer_words={"refund": ["delivery"]}), "stands for both “refund” and “delivery”"),
        (PromptWording(user="{{text}}", answer_words={"spam": ["x"]}), "answer words for “spam”"),
        (PromptWording(user="{{text}}" + "x" * 50_000), "more than the 50,000 allowed"),
        (PromptWording(user="{{text}}\0"), "NUL or half of a character"),
        (PromptWording(user="{{text}}\ud800"), "NUL or half of a character"),
        (PromptWording(user="{{text}}", demonstrations=[shown("spam")]), "examples of “spam”"),
        (PromptWording(user="{{text}}", demonstrations=[shown()] * 65), "more than the 64 allowed"),
    ],
)
def test_a_wording_that_cannot_work_is_refused_in_a_sentence(wording, sentence):
    assert sentence in " ".join(wording_problems(wording, SHAPE))


def test_without_data_only_a_slot_is_asked_for():
    assert wording_problems(PromptWording(user="{{anything}}"), None) == []
    assert "has no slot" in wording_problems(PromptWording(user="nothing"), None)[0]


def test_a_row_fills_the_prompt_and_what_came_from_it_is_marked():
    pieces = row_fill(GOOD.ordered(), {"text": "where is {{text}}?"})

    assert "".join(piece.text for piece in pieces) == "Which queue?\nwhere is {{text}}?\nQueue:"
    assert [piece.text for piece in pieces if piece.column] == ["where is {{text}}?"]


def test_examples_are_filled_with_their_answer():
    wording = PromptWording(user="{{text}}", answer_cue="Queue:", answer_words={"refund": ["money"]}, demonstrations=[shown()]).ordered()

    assert "".join(piece.text for piece in demonstrations_fill(wording)) == "money back\nQueue: money\n\n"


def test_every_part_of_a_wording_is_a_line_that_can_be_compared():
    wording = PromptWording(user="{{text}}", system="Be brief.", answer_words={"refund": ["money"]}, demonstrations=[shown()])

    assert wording_lines(wording) == ["System: Be brief.", "{{text}}", "refund = money", "Example (refund): money back"]

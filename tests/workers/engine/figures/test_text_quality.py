import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF

from workers.engine.figures.text_quality import chrf, exact_match, rouge_l, token_f1

TEXTS = st.text(alphabet="ab cd.-1é", max_size=24)


def test_case_punctuation_articles_and_spaces_do_not_count():
    assert exact_match(" The  new Card! ", "new card")
    assert token_f1("The cat sat.", "a cat, sat") == 1.0


@pytest.mark.parametrize(
    ("text", "expected"), [("1.5", "15"), ("-5", "5"), (".5", "5"), ("-.5", ".5"), ("2026-11-22", "20261122"), ("!", "?"), ("the", "a")]
)
def test_what_the_usual_normalisation_would_confuse_is_no_exact_match(text, expected):
    assert not exact_match(text, expected)


@pytest.mark.parametrize(("text", "expected"), [("A-12", "A12"), ("5 %", "5"), ("$ 1.50.", "1.50"), ("?", " ? ")])
def test_punctuation_outside_numbers_is_no_difference(text, expected):
    assert exact_match(text, expected)


def test_json_objects_are_compared_by_value():
    assert exact_match('{"due": "12 May", "total": 1.5}', '{ "total":1.50, "due":"12 May"}')
    assert not exact_match('{"total": 1}', '{"total": 2}')
    assert exact_match('{"city": "london"}', '{"city": "London."}')
    assert exact_match('{"rate": NaN}', '{ "rate": NaN }')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"paid": 1}', '{"paid": true}'),
        ('{"total": "1"}', '{"total": 1}'),
        ('{"due": "null"}', '{"due": null}'),
        ('{"names": {}}', '{"names": []}'),
        ('["Ann, Lee"]', '["Ann", "Lee"]'),
        ('{"a": {"b": 1}}', '{"a": "b 1"}'),
        ('{"total": 5', '{"total": 5}'),
        ("total 5", '{"total": 5}'),
    ],
)
def test_json_of_another_shape_or_kind_is_no_exact_match(text, expected):
    assert not exact_match(text, expected)


def test_json_that_is_nested_without_end_is_compared_as_written():
    deep = "[" * 100_000

    assert exact_match(deep, deep)
    assert not exact_match(deep, "[[]]")


def test_token_f1_counts_shared_words_with_their_number():
    # SQuAD's own: 2 shared of 3 given and 4 expected words.
    assert token_f1("new new card", "new card not here") == pytest.approx(2 * 2 / 7)
    assert token_f1("x", "") == 0.0
    assert token_f1("", "") == 1.0


@given(st.text(alphabet="ab 1.,-X", max_size=30), st.text(alphabet="ab 1.,-X", max_size=30))
def test_rouge_l_equals_the_reference_package_on_plain_text(text, expected):
    from rouge_score.rouge_scorer import RougeScorer  # loads NLTK, which only this test needs

    theirs = RougeScorer(["rougeL"]).score(expected, text)["rougeL"].fmeasure

    assert rouge_l(text, expected) == pytest.approx(theirs)


def test_rouge_l_reads_words_of_any_script():
    assert rouge_l("Größe über alles", "die Größe alles") == pytest.approx(2 * 2 / 6)


def test_chrf_is_sacrebleus_sentence_score():
    assert chrf("the new card", "a new card") == pytest.approx(CHRF().sentence_score("the new card", ["a new card"]).score / 100)


@given(TEXTS, TEXTS)
def test_every_figure_is_a_share_and_full_for_the_reference_itself(text, expected):
    for measure in (token_f1, rouge_l, chrf):
        assert 0.0 <= measure(text, expected) <= 1.0 + 1e-9
    assert exact_match(expected, expected)

"""What a comparison says, and what it refuses to say."""

import json
import math

import numpy as np
import pytest

from experiments.comparison import BadComparison, Contender, Settings, comparison_build
from experiments.evidence.rates import method_difference

N = 400
LABELS = ("yes", "no")
EXPECTED = tuple(LABELS[row % 2] for row in range(N))
OTHER = {"yes": "no", "no": "yes"}


def contender(approach, right, *, seed=0, first=0, missing=0, **more):
    """An artifact that has rows first..first+right right and gives no answer to the last `missing` rows."""
    correct = tuple(first <= row < first + right and row < N - missing for row in range(N))
    predicted = tuple(
        None if row >= N - missing else EXPECTED[row] if ok else OTHER[EXPECTED[row]] for row, ok in zip(range(N), correct, strict=True)
    )
    return Contender(approach, approach.title(), seed, predicted, correct, num_errors=missing, **more)


def build(*contenders, **options):
    return comparison_build(expected=EXPECTED, labels=LABELS, contenders=contenders, **options)


def by_approach(items):
    return {item.approach: item for item in items}


def test_rows_without_an_answer_count_as_not_correct_and_show_in_coverage():
    result = build(contender("soft", 400, missing=40)).approaches[0].chosen

    assert (result.accuracy.correct, result.accuracy.n) == (360, 400)
    assert result.accuracy.value == 0.9
    assert result.coverage == 0.9
    assert result.num_errors == 40


def test_a_clear_difference_is_better_with_its_evidence():
    comparison = build(contender("zero", 200), contender("soft", 260), baseline="zero")

    pair = comparison.against_baseline[0]
    assert (pair.approach, pair.only_this, pair.only_other, pair.verdict) == ("soft", 60, 0, "better")
    assert pair.sentence == "Better by 15.0 points (95% interval 11.4 to 18.5, p < 0.001)."
    assert comparison.headline == "“Soft” is ahead with 65.0% of 400 rows right (95% interval 60.2% to 69.5%)."


def test_a_small_difference_is_not_called_one():
    comparison = build(contender("zero", 200), contender("soft", 203, first=3), baseline="zero")

    pair = comparison.against_baseline[0]
    assert pair.verdict == "no detectable difference"
    assert pair.sentence.startswith("No detectable difference (+0.8 points, 95% interval ")
    assert comparison.headline.endswith("“Zero” is not detectably different.")


def test_holm_makes_many_comparisons_more_careful():
    alone = build(contender("zero", 200), contender("soft", 207), baseline="zero").against_baseline[0]
    many = build(contender("zero", 200), contender("soft", 207), *[contender(f"other{n}", 200) for n in range(9)], baseline="zero")

    assert alone.verdict == "better"
    crowded = by_approach(many.against_baseline)["soft"]
    assert crowded.p == alone.p
    assert crowded.p_adjusted == pytest.approx(10 * alone.p)
    assert crowded.verdict == "no detectable difference"
    assert "Holm-adjusted p" in crowded.sentence
    assert "Alone, this interval would count as a difference; among 10 comparisons" in crowded.sentence


def test_not_worse_needs_the_whole_interval_above_the_margin():
    pairs = build(contender("zero", 300), contender("close", 299), contender("loose", 300, first=50), baseline="zero").against_baseline

    assert by_approach(pairs)["close"].not_worse is False
    narrow = build(contender("zero", 300), contender("close", 299), baseline="zero", settings=Settings(margin=0.03)).against_baseline[0]
    assert narrow.not_worse is True
    assert narrow.sentence.endswith("Not worse within a margin of 3.0 points.")
    assert by_approach(pairs)["loose"].not_worse is False


def test_identical_answers_are_not_proof_of_equality_on_few_rows():
    few = [Contender(key, key, 0, ("yes",) * 20, (True,) * 20) for key in ("a", "b")]

    pair = comparison_build(expected=["yes"] * 20, labels=LABELS, contenders=few, baseline="a").against_baseline[0]

    assert pair.not_worse is False


def test_the_seed_is_chosen_on_validation_and_never_by_the_compared_rows():
    seeds = [
        contender("soft", 300, seed=1, validation_accuracy=0.7),
        contender("soft", 250, seed=2, validation_accuracy=0.8),
        contender("soft", 390, seed=3, validation_accuracy=0.6),
    ]

    result = build(*seeds).approaches[0]

    assert (result.chosen_seed, result.chosen_because) == (2, "best on validation")
    assert result.chosen.accuracy.correct == 250
    assert (result.spread.lowest, result.spread.highest, result.spread.num_seeds) == (250 / N, 390 / N, 3)
    assert [artifact.seed for artifact in result.artifacts] == [1, 2, 3]


def test_fewer_than_five_seeds_show_the_spread_and_claim_nothing():
    comparison = build(contender("zero", 200), *[contender("soft", 300, seed=seed) for seed in range(4)], baseline="zero")

    claim = comparison.methods[0]
    assert (claim.num_seeds, claim.difference.value) == (4, None)
    assert claim.sentence == "A claim about the method needs 5 seeds or more."


def test_five_seeds_carry_a_claim_about_the_method():
    seeds = [contender("soft", 290 + 5 * seed, seed=seed) for seed in range(5)]

    claim = build(contender("zero", 200), *seeds, baseline="zero").methods[0]

    assert claim.difference.value == pytest.approx(0.25)
    assert claim.difference.low > 0.15
    assert claim.sentence.startswith("Over 5 seeds, on average 25.0 points better than “Zero” (95% interval ")


def test_wildly_different_seeds_carry_no_difference():
    seeds = [contender("soft", right, seed=seed) for seed, right in enumerate([80, 390, 150, 380, 60])]

    assert "no detectable difference" in build(contender("zero", 200), *seeds, baseline="zero").methods[0].sentence


def test_the_method_interval_covers_new_seeds_and_new_rows():
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        base = (generator.random(150) < 0.5).tolist()
        seeds = [(generator.random(150) < min(max(generator.normal(0.6, 0.05), 0), 1)).tolist() for _ in range(5)]
        estimate = method_difference(seeds, [base])
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 0.1 <= estimate.high

    assert covered / 300 >= 0.94


def test_confusion_and_macro_f1_belong_to_the_chosen_seed():
    result = build(contender("soft", 300, missing=10)).approaches[0]

    assert {(truth, answer) for truth, answer, _ in result.confusion.cells} == {(0, 0), (1, 1), (0, 1), (1, 0), (0, -1), (1, -1)}
    assert result.macro_f1.low < result.macro_f1.value < result.macro_f1.high


def test_free_text_has_no_labels_and_no_macro_f1():
    contenders = [Contender("a", "A", 0, ("x", None), (True, False)), Contender("b", "B", 0, ("x", "z"), (True, False))]

    comparison = comparison_build(expected=["x", "y"], labels=(), contenders=contenders, baseline="a")

    assert comparison.approaches[0].macro_f1 is None
    assert comparison.against_baseline[0].macro_f1 is None


def test_the_whole_comparison_is_json_without_non_finite_numbers():
    comparison = build(
        contender("zero", 0), contender("soft", 400), *[contender("lora", 399, seed=seed) for seed in range(5)], baseline="zero"
    )

    def numbers(value):
        if isinstance(value, dict):
            value = list(value.values())
        return [number for item in value for number in numbers(item)] if isinstance(value, list) else [value]

    stored = json.loads(json.dumps(comparison.to_json()))
    assert all(math.isfinite(value) for value in numbers(stored) if isinstance(value, float))


@pytest.mark.parametrize(
    ("contenders", "baseline", "sentence"),
    [
        ((), None, "There is nothing to compare yet."),
        ((contender("a", 1),), "b", "The baseline has no answers on these rows."),
        ((Contender("a", "A", 3, ("yes",), (True,)),), None, "“A” (seed 3) answered other rows than the rest."),
        ((contender("a", 1), contender("a", 2)), None, "listed twice with the same seed"),
        ((Contender("a", "A", 0, (None,) * N, (True,) * N),), None, "counts a row without an answer as right"),
    ],
)
def test_what_cannot_be_compared_is_refused(contenders, baseline, sentence):
    with pytest.raises(BadComparison) as refusal:
        build(*contenders, baseline=baseline)

    assert sentence in str(refusal.value)


def test_labels_of_another_version_are_refused():
    with pytest.raises(BadComparison, match="not among the labels"):
        comparison_build(expected=["maybe"], labels=LABELS, contenders=[Contender("a", "A", 0, ("yes",), (False,))])


def test_of_approaches_that_are_right_as_often_the_cheapest_is_best_and_one_of_unknown_cost_stands_last():
    tied = [contender(key, 300) for key in ("unpriced", "dear", "cheap", "cheap too")]

    priced = build(contender("cheapest", 200), *tied, costs={"cheapest": 0.1, "dear": 9.0, "cheap": 1.0, "cheap too": 1.0})

    assert priced.best == "cheap"
    assert set(priced.equals) == {"unpriced", "dear", "cheap too"}
    assert build(*tied).best == "unpriced", "without prices the first of the plan"

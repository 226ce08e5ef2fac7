"""Rates and paired tests against SciPy, scikit-learn and closed forms, on many random sets of predictions."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from experiments.evidence.confusion import confusion_build, macro_f1, macro_f1_draws, macro_f1_estimate
from experiments.evidence.rates import Estimate, holm_adjusted, mcnemar_p, paired_difference, seed_spread, wilson_rate

LABELS = ["a", "b", "c, d", "“e” 👋"]


def random_set(number):
    """Expected and answered labels of one random size, balance and quality; some rows have no answer."""
    generator = np.random.default_rng(number)
    n, k = int(generator.integers(1, 60)), int(generator.integers(1, len(LABELS) + 1))
    expected = [LABELS[index] for index in generator.choice(k, size=n, p=generator.dirichlet([1.0] * k))]
    quality = generator.random()
    answers = [truth if generator.random() < quality else LABELS[int(generator.integers(len(LABELS)))] for truth in expected]
    return expected, [None if generator.random() < 0.1 else answer for answer in answers]


def test_label_figures_equal_scikit_learn_on_many_random_sets():
    for number in range(150):
        expected, predicted = random_set(number)
        as_text = [answer or "<none>" for answer in predicted]
        present = sorted(set(expected), key=LABELS.index)

        confusion = confusion_build(expected, predicted, LABELS)

        precision, recall, f1, support = precision_recall_fscore_support(expected, as_text, labels=LABELS, zero_division=np.nan)
        for at, result in enumerate(confusion.by_label):
            assert result.rows == support[at]
            for value, theirs in ((result.precision, precision[at]), (result.recall, recall[at])):
                assert (value is None and math.isnan(theirs)) or value == pytest.approx(theirs, abs=1e-12)
            assert result.f1 is None if not support[at] else result.f1 == pytest.approx(f1[at], abs=1e-12)
        assert macro_f1(confusion) == pytest.approx(
            f1_score(expected, as_text, labels=present, average="macro", zero_division=0), abs=1e-12
        )
        matrix = confusion_matrix(expected, as_text, labels=[*LABELS, "<none>"])
        assert {(truth, answer): count for truth, answer, count in confusion.cells} == {
            (truth, answer if answer < len(LABELS) else -1): matrix[truth, answer] for truth, answer in zip(*matrix.nonzero(), strict=True)
        }


def test_wilson_equals_the_closed_form_for_every_count():
    z = stats.norm.ppf(0.975)
    for n in (1, 2, 7, 50, 3_080):
        for correct in {0, 1, n // 3, n - 1, n}:
            share = correct / n
            centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))

            rate = wilson_rate(correct, n)

            assert rate.low == pytest.approx(max(0, (centre - half) / (1 + z * z / n)), abs=1e-12)
            assert rate.high == pytest.approx(min(1, (centre + half) / (1 + z * z / n)), abs=1e-12)


def test_mcnemar_is_the_exact_test_less_half_the_observed_probability():
    for only_a, only_b in itertools.product(range(0, 40, 3), repeat=2):
        if only_a + only_b:
            exact = stats.binomtest(only_a, only_a + only_b, 0.5).pvalue
            own = stats.binom.pmf(only_a, only_a + only_b, 0.5)
            # At a tie the exact value is cut at 1, so only half of the double-counted middle is left to take.
            assert mcnemar_p(only_a, only_b) == pytest.approx(exact - own if only_a != only_b else 1.0, abs=1e-12)
    assert mcnemar_p(0, 0) == 1.0


def test_holm_is_the_closed_test_of_bonferroni():
    generator = np.random.default_rng(5)
    for _ in range(100):
        p_values = list(generator.random(int(generator.integers(1, 7))) ** 3)
        by_definition = [
            max(
                min(1.0, len(family) * min(family))
                for size in range(len(p_values))
                for others in itertools.combinations([p for at, p in enumerate(p_values) if at != index], size)
                for family in [[*others, p_values[index]]]
            )
            for index in range(len(p_values))
        ]

        assert holm_adjusted(p_values) == pytest.approx(by_definition, abs=1e-12)
    assert holm_adjusted([]) == []


def test_the_paired_interval_is_the_closed_form_of_its_source():
    estimate = paired_difference(60, 20, 400)

    first, second, z = 61 / 402, 21 / 402, stats.norm.ppf(0.975)
    half = z * math.sqrt((first + second - (first - second) ** 2) / 402)
    assert estimate.value == 0.1
    assert [estimate.low, estimate.high] == pytest.approx([first - second - half, first - second + half], abs=1e-12)


def interval(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def test_the_paired_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(9)
    n, cells = 200, [0.12, 0.07, 0.81]
    draws = generator.multinomial(n, cells, size=4_000)

    intervals = (interval(paired_difference(only_a, only_b, n)) for only_a, only_b, _ in draws)
    covered = [low <= 0.05 <= high for low, high in intervals]

    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


def test_the_paired_interval_holds_its_value_and_stays_honest_where_all_rows_agree():
    for n in (1, 5, 100):
        for only_a, only_b in ((0, 0), (n, 0), (0, n)):
            estimate = paired_difference(only_a, only_b, n)

            low, high = interval(estimate)
            assert estimate.value is not None
            assert -1 <= low <= estimate.value <= high <= 1
            assert high > low


def plain_bootstrap(expected, answers):
    """With the macro-F1 that equals scikit-learn's, which would check its arguments anew for every draw."""
    generator = np.random.default_rng(1)
    values = []
    for _ in range(300):
        rows = generator.integers(len(expected), size=len(expected))
        truth = [expected[row] for row in rows]
        scores = [macro_f1(confusion_build(truth, [answer[row] for row in rows], LABELS)) for answer in answers]
        values.append(scores[0] - sum(scores[1:]))
    return np.quantile(values, [0.025, 0.975])


def quality_set(n, *qualities):
    generator = np.random.default_rng(3)
    expected = [LABELS[index] for index in generator.choice(4, size=n, p=[0.5, 0.3, 0.15, 0.05])]
    answers = [
        [truth if generator.random() < quality else LABELS[int(generator.integers(4))] for truth in expected] for quality in qualities
    ]
    return expected, answers


def test_the_macro_f1_interval_is_that_of_a_plain_bootstrap_over_rows():
    expected, (answer,) = quality_set(120, 0.6)

    estimate = macro_f1_estimate(confusion_build(expected, answer, LABELS), resamples=4_000)

    assert [estimate.low, estimate.high] == pytest.approx(plain_bootstrap(expected, [answer]), abs=0.025)


def test_macro_f1_differences_are_resampled_in_pairs():
    expected, (one, other) = quality_set(120, 0.8, 0.6)

    draws = macro_f1_draws(expected, [one, other, one], LABELS, resamples=4_000)

    assert list(np.quantile(draws[0] - draws[1], [0.025, 0.975])) == pytest.approx(plain_bootstrap(expected, [one, other]), abs=0.03)
    assert not (draws[0] - draws[2]).any()


def test_both_ways_of_resampling_draw_from_the_same_distribution():
    expected, (answer,) = quality_set(3_000, 0.7)

    by_cell = macro_f1_estimate(confusion_build(expected, answer, LABELS), resamples=4_000)
    unlike = [str(row) for row in range(3_000)]  # a second artifact makes every row a cell of its own
    by_row = np.quantile(macro_f1_draws(expected, [answer, unlike], [*LABELS, *unlike], resamples=1_000)[0], [0.025, 0.975])

    assert list(by_row) == pytest.approx([by_cell.low, by_cell.high], abs=0.003)


def test_the_same_seed_gives_the_same_interval():
    expected, (answer,) = quality_set(50, 0.6)
    confusion = confusion_build(expected, answer, LABELS)

    assert macro_f1_estimate(confusion, seed=1) == macro_f1_estimate(confusion, seed=1)
    assert macro_f1_estimate(confusion, seed=1) != macro_f1_estimate(confusion, seed=2)


def test_the_spread_of_seeds_is_the_sample_deviation():
    spread = seed_spread([0.5, 0.6, 0.8])

    assert (spread.lowest, spread.highest, spread.num_seeds) == (0.5, 0.8, 3)
    assert spread.deviation == pytest.approx(np.std([0.5, 0.6, 0.8], ddof=1))
    assert seed_spread([0.5]).deviation is None

import pytest

from experiments.evidence.means import mean_estimate


def test_the_interval_holds_the_mean_and_narrows_with_rows():
    few, many = mean_estimate([0.0, 1.0] * 10), mean_estimate([0.0, 1.0] * 1000)

    assert few.value == many.value == 0.5
    assert few.low < 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 5


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    import numpy as np

    chance = np.random.default_rng(1)
    found = [mean_estimate(chance.uniform(size=60).tolist(), resamples=400) for _ in range(200)]

    assert 0.90 <= sum(each.low <= 0.5 <= each.high for each in found) / 200 <= 0.99


def test_the_same_rows_give_the_same_interval():
    assert mean_estimate([0.1, 0.7, 0.4]) == mean_estimate([0.1, 0.7, 0.4])


def test_a_chunk_smaller_than_all_draws_changes_only_the_draws(monkeypatch):
    whole = mean_estimate([0.0, 0.5, 1.0] * 20)

    monkeypatch.setattr("experiments.evidence.means.CHUNK", 600)

    assert mean_estimate([0.0, 0.5, 1.0] * 20).low == pytest.approx(whole.low, abs=0.02)

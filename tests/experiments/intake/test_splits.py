"""Splits from a column and by draw."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.intake.folding import folded
from experiments.intake.splits import BadSplits, Shares, SplitRow, split_complete, split_draw, split_from_column, split_suggest


def rows_of(**counts):
    return [SplitRow((f"{label} number {number}",), label) for label, count in counts.items() for number in range(count)]


def test_usual_split_names_are_understood():
    assert split_suggest(["train", "Dev", " VALID ", "validation", "test", "holdout", "2", ""]) == {
        "train": "train", "Dev": "validation", " VALID ": "validation", "validation": "validation", "test": "test",
        "holdout": "test", "2": None, "": None,
    }  # fmt: skip


def test_a_column_gives_the_splits():
    assert split_from_column(["tr", "te", "tr"], {"tr": "train", "te": "test"}) == ["train", "test", "train"]


def test_values_without_a_meaning_are_named():
    with pytest.raises(BadSplits, match=r"The split column holds “x” and an empty cell\. Say for each value"):
        split_from_column(["train", "x", "", "x"], {"train": "train", "x": None})


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_shares_must_make_a_whole(shares):
    with pytest.raises(BadSplits, match="100% together"):
        Shares(*shares)


def test_each_label_is_divided_in_the_same_shares():
    rows = rows_of(a=1_000, b=100, c=20)

    splits = Counter(zip((row.label for row in rows), split_draw(rows, shares=Shares(0.7, 0.15, 0.15), seed=1), strict=True))

    assert splits == {
        ("a", "train"): 700, ("a", "validation"): 150, ("a", "test"): 150,
        ("b", "train"): 70, ("b", "validation"): 15, ("b", "test"): 15,
        ("c", "train"): 14, ("c", "validation"): 3, ("c", "test"): 3,
    }  # fmt: skip


def test_rare_labels_stand_in_every_split_and_totals_stay_right():
    rows = rows_of(**{f"label{number}": 3 for number in range(30)}, common=900)

    splits = split_draw(rows, shares=Shares(0.8, 0.1, 0.1), seed=3)

    by_label = Counter(zip((row.label for row in rows), splits, strict=True))
    assert all(by_label[f"label{number}", split] == 1 for number in range(30) for split in ("train", "validation", "test"))
    assert Counter(splits)["train"] == pytest.approx(0.8 * len(rows), abs=3 * 30)


def test_texts_that_repeat_often_count_with_all_of_their_rows():
    rows = [SplitRow((f"text {number // 10}",), "a") for number in range(1_000)] + rows_of(a=1_000)

    splits = Counter(split_draw(rows, shares=Shares(0.5, 0.25, 0.25), seed=1))

    assert splits == pytest.approx({"train": 1_000, "validation": 500, "test": 500}, abs=10)


def test_the_order_of_the_rows_does_not_matter_but_the_seed_does():
    rows = rows_of(a=50, b=50)
    shuffled = random.Random(0).sample(rows, len(rows))

    first = dict(zip(rows, split_draw(rows, shares=Shares(), seed=1), strict=True))

    assert first == dict(zip(shuffled, split_draw(shuffled, shares=Shares(), seed=1), strict=True))
    assert first != dict(zip(rows, split_draw(rows, shares=Shares(), seed=2), strict=True))


@given(st.lists(st.tuples(st.text("aAbB ", max_size=3), st.sampled_from("xyz")), min_size=1, max_size=60), st.integers(0, 5))
def test_equal_texts_never_leak_into_another_split(pairs, seed):
    splits = split_draw([SplitRow((text,), label) for text, label in pairs], shares=Shares(), seed=seed)

    places: dict[str, str] = {}
    for (text, _), split in zip(pairs, splits, strict=True):
        assert places.setdefault(folded(text), split) == split


def test_an_official_test_split_stays_and_validation_is_taken_from_train():
    rows = rows_of(a=200, b=100)
    official = ["test" if number % 3 == 0 else "train" for number in range(300)]

    splits = split_complete(rows, official, shares=Shares(0.7, 0.2, 0.1), seed=1)

    assert [split == "test" for split in splits] == [split == "test" for split in official]
    assert Counter(splits) == {"train": 160, "validation": 40, "test": 100}


def test_complete_splits_stay_as_they_are():
    given = ["train", "validation", "test"]

    assert split_complete(rows_of(a=3), given, shares=Shares(), seed=1) == given

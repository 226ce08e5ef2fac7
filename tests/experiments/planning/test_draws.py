"""A draw of train rows is a part of every larger draw, as balanced as the rows allow, and the same for the same seed."""

from collections import Counter

from experiments.planning.draws import balanced_order

ROWS = [(row, "common" if row % 10 else "rare") for row in range(200)]
LABELS = dict(ROWS)


def test_draw_holds_every_row_once():
    assert sorted(balanced_order(ROWS, 0)) == list(range(200))


def test_labels_take_turns_until_one_runs_out():
    drawn = balanced_order(ROWS, 3)

    assert Counter(LABELS[row] for row in drawn[:16]) == {"common": 8, "rare": 8}
    assert Counter(LABELS[row] for row in drawn[:64]) == {"common": 44, "rare": 20}


def test_seed_decides_which_rows_are_drawn():
    assert balanced_order(ROWS, 1) == balanced_order(iter(ROWS), 1)
    assert set(balanced_order(ROWS, 1)[:16]) != set(balanced_order(ROWS, 2)[:16])


def test_rows_of_one_kind_are_drawn_by_chance():
    drawn = balanced_order([(row, "") for row in range(100)], 0)

    assert drawn[:10] != list(range(10))

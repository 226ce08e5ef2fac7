"""A page shows a matrix while it fits, and else where labels are missed."""

from experiments.reads.confusions import MATRIX_LABELS, MIX_UPS, confusion_view


def table(num_labels, confusion):
    labels = [f"label {at}" for at in range(num_labels)]
    return {"labels": labels, "best": "a1", "rows": [{"approach": "a1", "name": "LoRA", "confusion": confusion}]}


def test_few_labels_stand_in_a_matrix_with_a_shade_for_the_share_of_the_row():
    view = confusion_view(table(2, [[0, 0, 9], [0, 1, 1], [1, -1, 2]]), "")

    assert view.lines == (
        ("label 0", ((9, "shade-4 right"), (1, "shade-2"), (0, "shade-0"))),
        ("label 1", ((0, "shade-0"), (0, "shade-0 right"), (2, "shade-4"))),
    )
    assert view.has_none
    assert view.mix_ups == (("label 1", "no answer", 2), ("label 0", "label 1", 1))
    assert view.missed == ()


def test_labels_that_fit_in_no_matrix_are_named_where_they_are_missed_most():
    confusion = [[0, 0, 9], [0, 1, 1], [1, 1, 1], [1, 2, 3], [2, 2, 5]]

    view = confusion_view(table(MATRIX_LABELS + 1, confusion), "a1")

    assert view.lines == ()
    assert view.missed == (("label 1", 1, 4), ("label 0", 9, 10))


def test_a_long_list_of_missed_labels_is_cut():
    view = confusion_view(table(30, [[at, (at + 1) % 30, 1] for at in range(30)]), "a1")

    assert len(view.missed) == MIX_UPS


def test_free_answers_have_no_confusions():
    assert confusion_view(table(0, []), "") is None

"""Numbers and people's values inside sentences."""

from experiments.intake.folding import fingerprint, folded
from experiments.wording import counted, lasting, listed, quoted, rows_named


def test_counts_agree_with_their_noun():
    assert [counted(number, "row") for number in (0, 1, 1_204)] == ["0 rows", "1 row", "1,204 rows"]
    assert counted(2, "entry", "entries") == "2 entries"


def test_long_lists_say_how_many_more_there_are():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(map(str, range(10))) == "0, 1, 2, 3 and 6 more"
    assert listed(["a", "b", "c"], last="or") == "a, b or c"


def test_values_are_quoted_on_one_line_and_cut():
    assert quoted("a\n  b") == "“a b”"
    assert quoted("x" * 100_000) == "“" + "x" * 60 + "…”"


def test_rows_open_a_sentence():
    assert rows_named([1_204], total=1) == "Row 1,204"
    assert rows_named([1, 2, 3], total=3) == "Rows 1, 2 and 3"
    assert rows_named([1, 2, 3, 4, 5, 6], total=17) == "Rows 1, 2, 3, 4, 5 and 12 more"


def test_texts_are_the_same_after_case_space_and_composition():
    assert folded("  STRASSE\t\u00c9 ") == folded("straße e\u0301")
    assert fingerprint(["a", "b"]) != fingerprint(["ab", ""])


def test_a_rough_time_is_told_in_the_unit_that_reads_best():
    assert [lasting(seconds) for seconds in (0.2, 40, 90, 7_000, 9_000)] == [
        "1 second",
        "40 seconds",
        "2 minutes",
        "117 minutes",
        "2.5 hours",
    ]

import pytest

from experiments.intake.mapping import BadMapping, ColumnMapping, mapping_check, mapping_guess, rows_map
from experiments.intake.parsing import ColumnFacts, ParseReport, SourceRow
from experiments.intake.splits import Shares


def report(**columns: dict[str, int] | None) -> ParseReport:
    facts = tuple(ColumnFacts(name, 0, 80 if values is None else 8, values) for name, values in columns.items())
    return ParseReport(kind="csv", columns=facts, num_rows=10)


REPORT = report(text=None, queue={"a": 5, "b": 5}, part={"train": 6, "dev": 2, "test": 2})


def test_names_and_values_suggest_what_the_columns_mean():
    guess = mapping_guess(REPORT)

    assert (guess.text_columns, guess.label_column, guess.split_column) == (("text",), "queue", "part")
    assert guess.split_meaning == {"train": "train", "dev": "validation", "test": "test"}


def test_without_telling_names_the_longest_column_is_text_and_the_one_with_fewest_values_the_label():
    guess = mapping_guess(report(c1={"x": 4, "y": 6}, c2=None, c3={str(n): 1 for n in range(9)}))

    assert (guess.text_columns, guess.label_column, guess.split_column) == (("c2",), "c1", None)


def test_a_column_with_a_value_that_names_no_split_is_not_taken_for_splits():
    assert mapping_guess(report(text=None, label={"a": 1, "b": 1}, set={"train": 5, "other": 5})).split_column is None


def test_a_mapping_survives_json():
    mapping = ColumnMapping(
        ("text",), "queue", split_column="part", split_meaning={"dev": "validation"}, shares=Shares(0.8, 0.1, 0.1), seed=7
    )

    assert ColumnMapping.from_json(mapping.to_json()) == mapping


def test_an_older_mapping_takes_the_defaults():
    assert ColumnMapping.from_json({"text_columns": ["text"], "label_column": "label"}).shares == Shares()


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        (ColumnMapping((), "queue"), "No column is chosen as text"),
        (ColumnMapping(("text",), ""), "No column is chosen as label"),
        (ColumnMapping(("body",), "queue"), "no column “body”"),
        (ColumnMapping(("text", "queue"), "queue"), "“queue” is chosen twice"),
        (ColumnMapping(("text",), "queue", seed=-1), "seed must lie between"),
        (ColumnMapping(("text",), "queue", task="poetry"), "“poetry” is not known"),  # type: ignore[arg-type]
        (ColumnMapping(("queue",), "part", split_column="text"), "cannot name splits"),
        (ColumnMapping(("text",), "queue", split_column="part", split_meaning={"train": "train"}), "“dev”"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_in_one_sentence(mapping, sentence):
    with pytest.raises(BadMapping, match=sentence):
        mapping_check(mapping, REPORT)


def test_a_missing_split_is_taken_from_train_and_the_official_test_stays():
    rows = [SourceRow(number, (f"text {number}", "ab"[number % 2], "train" if number < 80 else "test")) for number in range(100)]
    meaning = {"train": "train", "test": "test"}
    mapping = ColumnMapping(("text",), "queue", split_column="part", split_meaning=meaning, shares=Shares(0.8, 0.1, 0.1))

    mapped = rows_map(rows, REPORT, mapping)

    assert {row.number for row in mapped if row.split == "test"} == set(range(80, 100))
    assert sum(row.split == "validation" for row in mapped) == 8
    assert mapped[0].fields == {"text": "text 0"}


def unlabelled_rows(part="train"):
    """80 labelled train rows, 20 test rows, and 30 rows without a label."""
    labelled = [(f"text {number}", "ab"[number % 2], "train" if number < 80 else "test") for number in range(100)]
    bare = [(f"bare {number}", " ", part) for number in range(30)]
    return [SourceRow(number, cells) for number, cells in enumerate([*labelled, *bare])]


@pytest.mark.parametrize("split_column", [None, "part"])
def test_rows_without_a_label_can_be_kept_and_are_drawn_into_no_split(split_column):
    meaning = {"train": "train", "test": "test"}
    told = {"split_column": split_column, "split_meaning": meaning, "shares": Shares(0.8, 0.1, 0.1)}
    bare = range(100, 130)

    with_them = rows_map(unlabelled_rows(), REPORT, ColumnMapping(("text",), "queue", keep_unlabelled=True, **told))
    without = rows_map(unlabelled_rows()[:100], REPORT, ColumnMapping(("text",), "queue", **told))

    assert {row.number for row in with_them if row.split == "unlabelled"} == set(bare)
    assert {row.label for row in with_them if row.split == "unlabelled"} == {""}
    assert with_them[:100] == without


def test_rows_without_a_label_stay_where_they_were_unless_they_are_kept():
    meaning = {"train": "train", "test": "test"}

    mapped = rows_map(unlabelled_rows(), REPORT, ColumnMapping(("text",), "queue", split_column="part", split_meaning=meaning))

    assert "unlabelled" not in {row.split for row in mapped}


def test_a_value_of_the_split_column_can_mean_unlabelled_and_its_labels_are_not_used():
    rows = [SourceRow(1, ("one", "a", "train")), SourceRow(2, ("two", "-1", "unsup")), SourceRow(3, ("three", "b", "test"))]
    meaning = {"train": "train", "unsup": "unlabelled", "test": "test"}
    mapping = ColumnMapping(("text",), "queue", split_column="part", split_meaning=meaning)

    mapped = rows_map(rows, REPORT, mapping)

    assert [(row.split, row.label) for row in mapped] == [("train", "a"), ("unlabelled", ""), ("test", "b")]

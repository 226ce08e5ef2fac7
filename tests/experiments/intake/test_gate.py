"""Every finding of the data gate, with the sentence that a person reads."""

import json

import pytest

from experiments.intake.gate import GateRow, gate_check, gate_leaks


def clean_rows(num_labels=2, per_split=150):
    rows, number = [], 0
    for split in ("train", "validation", "test"):
        for index in range(per_split):
            number += 1
            rows.append(GateRow(number, (f"{split} text {index}",), f"label {index % num_labels}", split))
    return rows


def extra(rows, *more):
    return rows + [GateRow(len(rows) + 1 + index, (text,), label, split) for index, (text, label, split) in enumerate(more)]


def found(rows, code, **options):
    findings = [finding for finding in gate_check(rows, **options).findings if finding.code == code]
    return findings[0] if findings else None


def test_clean_rows_have_no_findings():
    report = gate_check(clean_rows())

    assert report.findings == ()
    assert not report.blocked
    assert report.rows_by_split == {"train": 150, "validation": 150, "test": 150}
    assert report.labels["label 0"] == {"train": 75, "validation": 75, "test": 75}


def test_no_rows_block():
    report = gate_check([])

    assert report.blocked
    assert [finding.code for finding in report.findings] == ["no_rows"]


def test_empty_labels_and_texts_block_with_their_rows():
    rows = extra(clean_rows(), ("fine", " ", "train"), ("  \n", "label 0", "train"), ("", "label 1", "test"))

    assert found(rows, "empty_label").sentence == (
        "Row 451: the label is empty. Every row needs one of the 2 labels; add it or remove the row."
    )
    assert found(rows, "empty_text").sentence == ("Rows 452 and 453: the text is empty. Every row needs a text; add it or remove the rows.")
    assert gate_check(rows).blocked


@pytest.mark.parametrize("text", ["train text 3", "TRAIN Text 3", "  train \t text  3\n", "ｔrain text 3"])
def test_a_text_of_train_in_test_is_reported_exact_or_folded(text):
    finding = found(extra(clean_rows(), (text, "label 1", "test")), "split_overlap")

    assert (finding.severity, finding.count, finding.rows) == ("warns", 1, (451,))
    assert finding.sentence.startswith("1 row repeats a text of another split (row 451 (test) repeats row 4).")


def test_leaking_rows_leave_train_before_validation_and_test_stays():
    rows = extra(
        clean_rows(), ("TRAIN TEXT 0", "label 0", "test"), ("train text 1", "label 1", "validation"), ("train text 2", "label 0", "train")
    )

    assert gate_leaks(rows) == {1, 2}


def test_duplicates_inside_a_split_are_a_note():
    finding = found(extra(clean_rows(), ("Train  text 7", "label 1", "train")), "duplicates")

    assert (finding.severity, finding.rows) == ("notes", (451,))


def test_all_rows_of_a_finding_stand_by_the_rows_that_they_repeat():
    more = [("train text 9", "label 1", "train"), ("train text 2", "label 1", "train"), *[("TRAIN text 9", "label 1", "train")] * 20]
    rows = extra(clean_rows(), *more)

    report = gate_check(rows)
    repeats = report.found["duplicates"]

    assert [(row.number, row.twin) for row in repeats[:3]] == [(451, 10), (453, 10), (454, 10)]
    assert len(repeats) == found(rows, "duplicates").count == 21
    assert report.found["contradicting_labels"] == [(452, 3)]
    assert gate_check(extra(rows, (" ", "label 0", "test"))).found["empty_text"] == [(473, None)]


def test_a_contradicting_row_of_the_same_split_counts_once_and_one_of_another_split_is_a_leak_too():
    more = [("train text 0", "label 1", "train"), ("train text 0", "label 0", "train"), ("train text 1", "label 0", "test")]
    rows = extra(clean_rows(), *more)
    report = gate_check(rows)

    assert report.found["contradicting_labels"] == [(451, 1), (453, 2)]
    assert report.found["duplicates"] == [(452, 1)]
    assert report.found["split_overlap"] == [(453, 2)]
    assert found(rows, "duplicates").sentence.endswith("Those with another label are counted as contradictions alone.")


def test_reference_texts_contradict_nothing_so_that_each_repeat_is_one():
    rows = extra(clean_rows(), ("train text 0", "label 1", "train"))

    assert gate_check(rows, task="extraction").found["duplicates"] == [(451, 1)]
    assert "contradictions" not in found(rows, "duplicates", task="extraction").sentence


def test_contradicting_labels_show_both():
    finding = found(extra(clean_rows(), ("train text 0", "label 1", "train")), "contradicting_labels")

    assert finding.sentence == (
        "1 row repeats a text with another label (row 1 says “label 0”, row 451 “label 1”). "
        "Decide for one label, or no approach can be right on both."
    )


def test_rows_differ_when_any_of_their_texts_differs():
    rows = [GateRow(1, ("a", "b"), "x", "train"), GateRow(2, ("a", "c"), "x", "test"), GateRow(3, ("ab", ""), "x", "test")]

    assert found(rows, "split_overlap") is None


def test_one_label_blocks():
    finding = found(clean_rows(num_labels=1), "one_label")

    assert finding.severity == "blocks"
    assert finding.sentence.startswith("Every row has the label “label 0”.")


def test_five_hundred_labels_warn_and_doubt_the_column_beyond():
    assert found(clean_rows(num_labels=200, per_split=200), "many_labels") is None
    assert found(clean_rows(num_labels=500, per_split=500), "many_labels").sentence.startswith("There are 500 labels.")
    assert "right column" in found(clean_rows(num_labels=501, per_split=501), "many_labels").sentence


def test_label_variants_in_case_and_spaces_are_shown_with_their_counts():
    rows = extra(clean_rows(), ("new", "Label 0", "train"), ("newer", "label 1 ", "train"))

    assert found(rows, "label_variants").sentence == (
        "“label 0” (225 rows) and “Label 0” (1 row) differ only in case or spaces but count as different labels. "
        "Write the label in one way."
    )
    assert found(rows, "spaced_labels").rows == (452,)


def test_a_label_missing_from_train_says_what_follows():
    rows = extra(clean_rows(), ("new", "rare, “quoted” 👋", "test"))

    assert found(rows, "labels_missing_from_train").sentence == (
        "1 label is missing from train (“rare, “quoted” 👋”): no approach can learn from rows what they mean. "
        "Add rows, or let the rows be divided by label."
    )
    assert found(rows, "labels_missing_from_validation").count == 1
    assert found(rows, "labels_missing_from_test") is None


@pytest.mark.parametrize(("split", "severity"), [("train", "warns"), ("validation", "blocks"), ("test", "blocks")])
def test_a_split_without_rows_is_reported_once(split, severity):
    rows = [row for row in clean_rows() if row.split != split]

    assert found(rows, f"no_{split}_rows").severity == severity
    assert found(rows, f"labels_missing_from_{split}") is None


def test_few_validation_rows_say_how_uncertain_they_are():
    rows = [row for row in clean_rows() if row.split != "validation"] + clean_rows()[150:200]

    assert found(rows, "few_validation_rows").sentence == (
        "Validation has only 50 rows, so its accuracy is uncertain by up to ±14 points. Give it 100 rows or more."
    )


def test_uneven_labels_name_what_always_answering_one_gives():
    rows = [GateRow(number, (f"text {number}",), "big" if number % 25 else "small", "train") for number in range(1, 501)]

    assert "Always answering “big” is right 96% of the time" in found(rows, "uneven_labels").sentence


def test_extraction_has_no_label_set():
    rows = [GateRow(number, (f"text {number}",), f"answer {number}", "train") for number in range(600)]

    report = gate_check(rows, task="extraction")

    assert report.labels == {}
    assert {finding.code for finding in report.findings} == {"no_test_rows", "no_validation_rows"}


def test_blocks_come_first_and_the_report_is_json():
    report = gate_check(extra(clean_rows(), ("train text 0", "", "test")))

    assert report.findings[0].severity == "blocks"
    assert json.loads(json.dumps(report.to_json()))["blocked"] is True


@pytest.mark.slow
def test_two_hundred_thousand_rows_are_checked():
    """Takes about a second; work that grew with the square of the rows would take hours and end nothing."""
    rows = (GateRow(number, (f"text number {number % 150_000}",), f"label {number % 300}", "train") for number in range(200_000))

    report = gate_check(rows)

    assert report.num_rows == 200_000
    assert {finding.code: finding.count for finding in report.findings}["duplicates"] == 50_000


def bare_rows(*texts):
    return extra(clean_rows(), *((text, "", "unlabelled") for text in texts))


def test_unlabelled_rows_are_counted_and_belong_to_no_label_or_balance():
    report = gate_check(bare_rows("one", "two", "three"))

    assert not report.blocked
    assert report.rows_by_split == {"train": 150, "validation": 150, "test": 150, "unlabelled": 3}
    assert report.labels == gate_check(clean_rows()).labels
    [note] = report.findings
    assert (note.code, note.severity, note.count) == ("unlabelled_rows", "notes", 3)
    assert note.sentence.startswith("3 rows are kept without a label.")


def test_one_label_blocks_however_many_rows_have_none():
    told = [("only", "train")] * 5 + [("", "unlabelled")] * 4
    rows = [GateRow(number, (f"text {number}",), label, split) for number, (label, split) in enumerate(told)]

    finding = found(rows, "one_label")

    assert finding.sentence.startswith("Every labelled row has the label “only”.")
    assert finding.count == 5


def test_unlabelled_rows_leak_from_the_splits_that_judge_and_not_from_train():
    rows = bare_rows("validation text 3", "TEST  text 4", "train text 5", "heard of nowhere")

    assert gate_leaks(rows) == {451, 452}
    assert found(rows, "split_overlap").rows == (451, 452)
    assert found(rows, "unlabelled_in_train").rows == (453,)


def test_an_unlabelled_text_without_text_blocks():
    assert found(bare_rows(" "), "empty_text").rows == (451,)


def test_an_unlabelled_row_hides_no_contradiction_that_comes_after_it():
    rows = [GateRow(0, ("train text 0",), "", "unlabelled"), *extra(clean_rows(), ("train text 0", "label 1", "train"))]

    assert "row 1 says “label 0”, row 451 “label 1”" in found(rows, "contradicting_labels").sentence

"""Exports open in a spreadsheet with their figures unchanged and nothing in them runs."""

import csv
import io
from decimal import Decimal

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.exports import cell_neutralised, csv_lines

STARTERS = ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"]


def read_back(columns, rows):
    text = "".join(csv_lines(columns, rows, for_spreadsheet=False))
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("starter", STARTERS)
@pytest.mark.parametrize("rest", ["cmd|' /C calc'!A0", "SUM(A1:A9)", '"x"', "1+1", " x", ""])
def test_a_formula_is_text_in_cells_and_headers(starter, rest):
    header, row = read_back([starter + rest], [[starter + rest]])

    assert header[0].startswith("'")
    assert row[0].startswith("'")


@pytest.mark.parametrize("text", [" =1+1", "\u00a0=1+1", "  @SUM(A1)", "\0=1+1", "\ufeff=1+1"])
def test_what_stands_in_front_does_not_hide_a_formula(text):
    assert cell_neutralised(text).startswith("'")


@pytest.mark.parametrize("cell", [-5, 0, -2.5, 1e-9, 12345678901234567890, Decimal("-0.0012"), "-5", "+3.25", "-1e-5"])
def test_numbers_stay_numbers(cell):
    _, row = read_back(["n"], [[cell]])

    assert float(row[0]) == float(cell)


@pytest.mark.parametrize("cell", ["-1+1", "+1+cmd|x", "-inf", "+1_0", "-٣", "--1"])
def test_what_only_looks_like_a_number_is_text(cell):
    assert cell_neutralised(cell) == "'" + cell


def test_no_value_is_an_empty_cell_and_truth_is_a_word():
    assert read_back(["a"] * 5, [[None, float("nan"), float("inf"), True, False]])[1] == ["", "", "", "true", "false"]


def test_a_spreadsheet_file_opens_with_the_mark_that_excel_needs():
    assert next(csv_lines(["größe"], [])) == "\ufeffgröße\r\n"


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), max_size=5))
def test_every_text_comes_back_as_it_was_or_with_one_apostrophe(rows):
    read = read_back(["a", "b"], rows)[1:]

    for row, again in zip(rows, read, strict=True):
        for before, after in zip(row, again, strict=True):
            assert after.removeprefix("'") == before.replace("\0", "").removeprefix("'")


def test_no_exported_cell_becomes_a_formula_in_a_workbook():
    book = openpyxl.Workbook()
    assert book.active is not None
    for starter in STARTERS:
        cell = book.active.cell(1, 1)
        cell.value = cell_neutralised(starter + "SUM(A2)").replace("\r", "").replace("\n", "")

        assert cell.data_type == "s"


def test_an_empty_table_has_its_header():
    assert read_back(["a"], []) == [["a"]]

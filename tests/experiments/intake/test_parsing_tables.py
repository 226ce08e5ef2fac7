"""Excel and Parquet uploads."""

import datetime
import io
import zipfile

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from experiments.intake.parsing import Limits, file_parse, rows_read
from experiments.intake.parsing_child import parse as parse_here


@pytest.fixture
def parse(tmp_path):
    """The parser without its process: faster, and an exception is seen."""

    def parse_bytes(content, name):
        (tmp_path / "upload").write_bytes(content)
        report = parse_here(tmp_path / "upload", tmp_path / "rows.jsonl", name, Limits())
        return report, [row.cells for row in rows_read(tmp_path / "rows.jsonl", report)] if report.usable else []

    return parse_bytes


def workbook(*sheets):
    book = openpyxl.Workbook()
    assert book.active is not None
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def table(**columns):
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


def repacked(content, replace):
    """A workbook whose members were changed by `replace(name, bytes)`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, replace(member, old.read(member)))
    return stream.getvalue()


def test_the_first_sheet_of_a_workbook_is_read(parse):
    rows = [["text", "label", "when", "score"], ["Grüße 👋", "a", datetime.datetime(2026, 1, 2), 3.0], [], ["=1+1", "b", None, 1.5]]

    report, cells = parse(workbook(("Data", rows), ("Other", [["x"]])), "rows.xlsx")

    assert cells[0] == ("Grüße 👋", "a", "2026-01-02", "3")
    assert cells[1][1:] == ("b", "", "1.5")
    assert (report.sheet, report.num_blank_rows) == ("Data", 1)
    assert report.notes == (
        "The workbook has 2 sheets; the first, “Data”, was read.",
        "1 row has no text in any cell and was skipped: row 3 of the file.",
    )


def test_a_parquet_file_is_read(parse):
    content = table(text=["hello", None, "bye"], label=[1, 2, 3], sure=[True, False, None])

    _, cells = parse(content, "rows.parquet")

    assert cells == [("hello", "1", "true"), ("", "2", "false"), ("bye", "3", "")]


def test_nested_parquet_columns_are_refused_by_name(parse):
    report, _ = parse(table(text=["a"], words=[["a", "b"]]), "rows.parquet")

    assert report.problems[0].sentence.startswith("Column “words” holds lists or records.")


def test_parquet_bytes_that_are_no_text_name_their_column(parse):
    report, _ = parse(table(text=[b"\xff\xfe", b"good"]), "rows.parquet")

    assert report.usable
    assert report.problems[0].sentence == "Row 1, column “text”: the cell is not UTF-8 text. Store it as text, or remove the row."


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.parquet"])
def test_text_under_a_table_name_is_refused(parse, name):
    report, _ = parse(b"text,label\na,b\n", name)

    assert "but holds text, not" in report.problems[0].sentence


@pytest.mark.parametrize("keep", [40, 200, 1_000])
def test_a_cut_file_is_refused(parse, keep):
    for content, name in (
        (workbook(("Data", [["text"], ["a"]])), "rows.xlsx"),
        (table(text=[f"a{n * n}" for n in range(5_000)]), "rows.parquet"),
    ):
        report, _ = parse(content[:keep], name)

        assert not report.usable
        assert "damaged" in report.problems[0].sentence


def test_flipped_bytes_never_end_in_anything_but_a_report(parse):
    for content, name in ((workbook(("Data", [["text"], ["a"]])), "rows.xlsx"), (table(text=["a"] * 50), "rows.parquet")):
        for position in range(10, len(content), len(content) // 7):
            damaged = bytearray(content)
            damaged[position] ^= 0xFF

            report, _ = parse(bytes(damaged), name)

            assert report.usable or report.problems[0].sentence


def sheet_bomb(xml):
    content = workbook(("Data", [["text"], ["a"]]))
    return repacked(content, lambda name, old: xml if name == "xl/worksheets/sheet1.xml" else old)


ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "' + b"lol" * 100 + b'">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, (b"&a%d;" % (n - 1) if n else b"&a;") * 20) for n in range(8))
    + b']><worksheet><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>&a7;</t></is></c></row></sheetData></worksheet>'
)  # fmt: skip
FAR_ROW = (
    b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    b'<row r="1"><c r="A1"><v>1</v></c></row>'
    b'<row r="99999999999"><c r="A99999999999"><v>1</v></c></row>'
    b"</sheetData></worksheet>"
)


def zip_of_zeros(num_bytes):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * num_bytes)
    return stream.getvalue()


def many_members(count):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(count):
            archive.writestr(f"xl/{number}.xml", b"")
    return stream.getvalue()


def long_dictionary():
    """A small Parquet file that unpacks to 4 GB: one text of 20 MB, named 200 times by a dictionary."""
    stream = io.BytesIO()
    big = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["a" * 20_000_000]))
    parquet.write_table(pa.table({"text": big}), stream, compression="zstd")
    return stream.getvalue()


BOMBS = {
    "ratio": (lambda: zip_of_zeros(50_000_000), "rows.xlsx", "unpacks to far more than its size allows"),
    "members": (lambda: many_members(10_000), "rows.xlsx", "unpacks to far more than its size allows"),
    "long sheet": (lambda: sheet_bomb(b"<x>" * 3_000_000), "rows.xlsx", "unpacks to far more than its size allows"),
    "entities": (lambda: sheet_bomb(ENTITIES), "rows.xlsx", "damaged or not a plain .xlsx"),
    "far row": (lambda: sheet_bomb(FAR_ROW), "rows.xlsx", "more than 1,000,000 rows"),
    "dictionary": (long_dictionary, "rows.parquet", "needs more memory than one upload may take"),
    "one long line": (lambda: b"text," + b"a" * 10_000_000, "rows.csv", "Line 1 has more than 4,000,000 characters"),
    "a million columns": (lambda: b",".join([b"c"] * 1_000_000) + b"\n", "rows.csv", "1,000,000 columns; 200 are allowed"),
    "deep JSON": (lambda: b"[" * 3_000_000, "rows.jsonl", "one JSON array"),
    "long number": (lambda: b'{"text": ' + b"9" * 3_000_000 + b"}", "rows.jsonl", "the cell has 3,000,000 characters"),
    "many keys": (lambda: b"{" + b", ".join(b'"k%d": 1' % n for n in range(200_000)) + b"}", "rows.jsonl", "more than 200 columns"),
}


@pytest.mark.parametrize(("make", "name", "sentence"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_in_a_sentence(tmp_path, make, name, sentence):
    (tmp_path / "upload").write_bytes(make())

    report = file_parse(source=tmp_path / "upload", destination=tmp_path / "rows.jsonl", name=name)

    assert not report.usable
    assert sentence in report.problems[0].sentence

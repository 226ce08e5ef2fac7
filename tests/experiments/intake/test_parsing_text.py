"""CSV, TSV and JSON Lines: what is read, and the sentence for what is not. Without the child process, which test_parsing.py tests."""

import codecs
import json

import pytest

from experiments.intake.parsing import Limits, rows_read
from experiments.intake.parsing_child import parse as parse_here

HEADER = b"text,label\n"


@pytest.fixture
def parse(tmp_path):
    def parse_bytes(content, name="rows.csv", **limits):
        source = tmp_path / "upload"
        source.write_bytes(content)
        return parse_here(source, tmp_path / "rows.jsonl", name, Limits(**limits))

    return parse_bytes


@pytest.fixture
def cells(parse, tmp_path):
    def parse_to_cells(content, name="rows.csv", **limits):
        report = parse(content, name, **limits)
        assert report.usable, report.problems
        return [row.cells for row in rows_read(tmp_path / "rows.jsonl", report)]

    return parse_to_cells


def test_a_plain_file_gives_its_rows_numbered_as_a_spreadsheet_shows_them(parse, tmp_path):
    report = parse(b"text,label\nhello,greeting\n\nbye,farewell\n")

    assert report.column_names == ("text", "label")
    assert [(row.number, row.cells) for row in rows_read(tmp_path / "rows.jsonl", report)] == [
        (2, ("hello", "greeting")),
        (4, ("bye", "farewell")),
    ]
    assert (report.num_rows, report.num_blank_rows, report.num_bad_rows, report.num_problems) == (2, 1, 0, 0)
    assert report.preview[0] == (2, ("hello", "greeting"))


def test_rows_that_are_wholly_empty_are_skipped_with_a_word(parse):
    one, two = parse(HEADER + b"hello,a\n,\nbye,b\n"), parse(HEADER + b"hello,a\n,\nbye,b\n\n")

    assert one.notes == ("1 row has no text in any cell and was skipped: row 3 of the file.",)
    assert two.notes == ("2 rows have no text in any cell and were skipped: the first is row 3 of the file.",)
    assert parse(HEADER + b"hello,a\nbye,\n").notes == ()


def test_column_facts_say_what_a_column_may_mean(parse):
    report = parse(b"text,label,note\nhello,a,\nhi you,b,\nbye,a,x\n")

    text, label, note = report.columns
    assert label.values == {"a": 2, "b": 1}
    assert (text.longest, note.num_empty) == (6, 2)


def test_a_column_of_many_values_has_no_value_counts(parse):
    report = parse(HEADER + b"".join(b"row %d,a\n" % number for number in range(1_500)))

    assert report.columns[0].values is None
    assert report.columns[1].values == {"a": 1_500}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(parse, delimiter):
    rows = [["text", "label"], ["one, two", "a"], ["three; four | five", "b"]]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in rows]

    report = parse("\n".join(lines).encode())

    assert report.delimiter == delimiter
    assert report.preview[0][1] == ("one, two", "a")


def test_a_file_of_one_column_needs_no_delimiter(cells):
    assert cells(b"text\nhello world\nbye\n") == [("hello world",), ("bye",)]


def test_quoted_cells_keep_commas_quotes_and_line_breaks(cells):
    assert cells(b'text,label\r\n"a, ""b""\r\nc","x, y"\r\n') == [('a, "b"\r\nc', "x, y")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_read(cells, end):
    assert cells(end.join(["text,label", "hello,a", "bye,b"]).encode()) == [("hello", "a"), ("bye", "b")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_emoji_is_read_in_every_unicode_encoding(cells, encoding):
    assert cells("text,label\nGrüße 👋,“a”\n".encode(encoding)) == [("Grüße 👋", "“a”")]


def test_utf_16_in_either_byte_order_is_read(cells):
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        assert cells(mark + "text\nGrüße\n".encode(encoding)) == [("Grüße",)]


def test_empty_columns_at_the_end_are_dropped(cells):
    assert cells(b"text,label,,\nhello,a,,\nbye,b,,\n") == [("hello", "a"), ("bye", "b")]


def test_tsv_is_never_guessed(cells):
    assert cells(b"text\tlabel\na, b, c\tx\n", name="rows.tsv") == [("a, b, c", "x")]


def test_json_lines_give_columns_in_order_of_appearance_and_fill_gaps(cells):
    lines = [{"text": "hello", "label": "a"}, {"label": "b", "text": "bye", "score": 1.50}, {"text": "x", "label": None, "score": True}]

    content = b"\n".join(json.dumps(line).encode() for line in lines)

    assert cells(content, name="rows.jsonl") == [("hello", "a", ""), ("bye", "b", "1.5"), ("x", "", "true")]


def test_json_numbers_keep_their_digits(cells):
    assert cells(b'{"id": 12345678901234567890123, "price": 1.10}', name="rows.jsonl") == [("12345678901234567890123", "1.10")]


def sentences(report):
    return [problem.sentence for problem in report.problems]


WHOLE_FILE = {
    "empty": (b"", "x.csv", "The file is empty."),
    "header only": (b"text,label\n", "x.csv", "The file has a header but no rows. Add at least one row for each label."),
    "blank header": (b"\n\na,b\n", "x.csv", "The first row is empty. It must hold the names of the columns, such as text and label."),
    "nameless column": (b"text,,label\na,b,c\n", "x.csv", "Column 2 has no name in the first row. Name it, or remove the column."),
    "doubled header": (b"text,label, text \na,b,c\n", "x.csv", "Columns 1 and 3 have the same name, “text”. Rename all but one."),
    "braces in header": (
        b"text,{{label}}\na,b\n",
        "x.csv",
        "Column 2 is named “{{label}}”. Rename it: at most 200 characters, no line break, no braces.",
    ),
    "pdf": (b"%PDF-1.7 ...", "x.csv", "The file is named .csv but is a PDF document. Export the table as CSV."),
    "workbook as csv": (
        b"PK\x03\x04....",
        "x.csv",
        "The file is named .csv but is an Excel workbook or a ZIP archive. Rename it to .xlsx, or export the table as CSV.",
    ),
    "gzip": (b"\x1f\x8b\x08....", "x.jsonl", "The file is named .jsonl but is a gzip archive. Export the table as CSV."),
    "program": (
        bytes(range(256)) * 40,
        "x.csv",
        "The file is not text but binary data, whatever its name says. Export the table as CSV, TSV or JSON Lines.",
    ),
    "latin 1": (
        "text,label\nGrüße aus München,größe\n".encode("latin-1") * 3,
        "x.csv",
        "Byte 13 (line 2) is not UTF-8.",
    ),
    "utf-16 without mark": (
        "text,label\nhello,a\n".encode("utf-16-le") * 5,
        "x.csv",
        "The file looks like UTF-16 without its opening mark.",
    ),
    "cut utf-16": (
        codecs.BOM_UTF16_LE + "text\nab".encode("utf-16-le") + b"\x00",
        "x.csv",
        "The file says it is UTF-16, but byte 16 (line 2) is not.",
    ),
    "surrogate in utf-8": (b"text,label\na\xed\xa0\x80b,c\n", "x.csv", "Byte 12 (line 2) is not UTF-8."),
    "unknown ending": (
        b"text\na\n",
        "x.docx",
        "Files ending in .docx are not read. Upload CSV, TSV, JSON Lines, Excel (.xlsx) or Parquet.",
    ),
    "no ending": (b"text\na\n", "rows", "Files without an ending are not read."),
    "json array": (
        b'[{"text": "a"}]',
        "x.json",
        "The file is one JSON array. Save it as JSON Lines: one object a line, without brackets and commas around them.",
    ),
    "json array over lines": (b'[\n{"text": "a"},\n{"text": "b"}]', "x.json", "The file is one JSON array."),
    "nothing readable": (b"not json\n", "x.jsonl", "No row could be read. Line 1 is not valid JSON"),
}


@pytest.mark.parametrize(("content", "name", "sentence"), WHOLE_FILE.values(), ids=WHOLE_FILE)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(parse, content, name, sentence):
    report = parse(content, name)

    assert not report.usable
    assert sentences(report)[0].startswith(sentence)


def test_the_probable_encoding_is_named_with_words_read_in_it(parse):
    report = parse(("text,label\n" + "Größere Beträge für Müller überweisen, 5 €,größe\n" * 50).encode("cp1252"))

    assert sentences(report)[0] == (
        "Byte 13 (line 2) is not UTF-8. The file looks like Windows-1252 (Western European), where this place reads "
        "“Größere Beträge für Müller überw”. Save the file as “CSV UTF-8” (in a spreadsheet) or “UTF-8” (in an editor) and upload it again."
    )


def test_the_words_around_a_wrong_byte_are_cut_out_of_a_long_line(parse):
    line = "Je vous remercie de votre patience. " * 1_000

    report = parse(f"text,label\n{line}Vous n’avez rien reçu ? {line},x\n".encode("cp1252"))

    assert "reads “rcie de votre patience. Vous n’avez rien reçu ? Je vous reme”." in sentences(report)[0]


def test_an_undecodable_byte_far_into_the_file_is_placed_exactly(parse):
    good = "text,label\n" + "äöü hello,a\n" * 200_000
    content = good.encode() + b"bad \xff byte,b\n"

    report = parse(content)

    assert sentences(report)[0].startswith(f"Byte {len(good.encode()) + 4:,} (line 200,002) is not UTF-8.")


BAD_ROWS = {
    "too few cells": (b"a\n", 2, "Row 2 has 1 cell, but the header names 2 columns."),
    "too many cells": (b"a,b,c\n", 2, "Row 2 has 3 cells, but the header names 2 columns."),
    "NUL": (b"a\0b,x\n", 2, "Row 2, column “text”: the cell holds a NUL character, which no text has."),
    "text after a quote": (b'"a"b,x\n', 2, "Row 2 (line 2): a text goes on after its closing quote."),
    "huge cell": (b"a" * 100_001 + b",x\n", 2, "Row 2 (line 2): a cell has more than 100,000 characters."),
}


@pytest.mark.parametrize(("line", "row", "sentence"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_left_out_and_named(parse, tmp_path, line, row, sentence):
    report = parse(HEADER + line + b"good,y\n")

    assert report.usable
    assert (report.num_rows, report.num_bad_rows, report.num_problems) == (1, 1, 1)
    assert report.problems[0].row == row
    assert report.problems[0].sentence.startswith(sentence)
    assert [row.cells for row in rows_read(tmp_path / "rows.jsonl", report)] == [("good", "y")]


def test_a_quote_that_is_never_closed_is_placed_where_it_opens(parse):
    report = parse(HEADER + b'fine,a\n"never closed,b\nmore,c\n')

    assert report.problems[0].row == 3
    assert sentences(report)[0].startswith("Row 3 (line 3): a quote is opened and never closed.")


BAD_LINES = {
    "broken": (b'{"text": "a", }', "Line 2 is not valid JSON"),
    "not an object": (b'"a"', "Line 2 is not an object."),
    "nested value": (b'{"text": {"en": "a"}}', "Line 2, “text”: the value is a list or an object."),
    "list value": (b'{"text": ["a"]}', "Line 2, “text”: the value is a list or an object."),
    "doubled key": (b'{"text": "a", "text": "b"}', "Line 2 names a key twice."),
    "lone surrogate": (b'{"text": "a\\ud800"}', "Row 2, column “text”: the cell holds half of a character"),
    "NUL": (b'{"text": "a\\u0000"}', "Row 2, column “text”: the cell holds a NUL character"),
    "deep": (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "Line 2 is not valid JSON (nested too deeply)."),
}


@pytest.mark.parametrize(("line", "sentence"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_json_line_is_left_out_and_named(parse, line, sentence):
    report = parse(b'{"text": "good"}\n' + line + b"\n", "rows.jsonl")

    assert report.usable
    assert (report.num_rows, report.problems[0].row) == (1, 2)
    assert sentences(report)[0].startswith(sentence)


def test_a_bad_key_refuses_the_file(parse):
    for key, sentence in {"": "has no name", "a{b": "Rename it", "\\ud800": "half of a character"}.items():
        report = parse(f'{{"text": "a", "{key}": "b"}}'.encode(), "rows.jsonl")

        assert not report.usable
        assert sentence in sentences(report)[0]


def test_many_problems_are_counted_but_not_all_told(parse):
    report = parse(HEADER + b"a\n" * 5_000 + b"good,y\n")

    assert (report.num_bad_rows, report.num_problems, len(report.problems)) == (5_000, 5_000, 50)


def test_too_many_rows_columns_or_bytes_are_refused(parse):
    assert "more than 3 rows" in sentences(parse(HEADER + b"a,b\n" * 4, rows=3))[0]
    assert "300 columns; 200 are allowed" in sentences(parse(b",".join(b"c%d" % n for n in range(300)) + b"\n"))[0]
    assert "MB are allowed" in sentences(parse(HEADER + b"a,b\n" * 4, file_bytes=20))[0]


def test_the_report_survives_json(parse):
    report = parse(HEADER + b"a\nb,c\n")

    assert type(report).from_json(json.loads(json.dumps(report.to_json()))) == report

"""Files nobody thought of: whatever the bytes, the answer is a report, and what was accepted can be stored and read."""

import csv
import io
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.intake.parsing import Limits, rows_read
from experiments.intake.parsing_child import parse

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\r\t"), max_size=30)
NAMES = st.lists(st.text("abcdefgh_ äß", min_size=1, max_size=8).map(str.strip).filter(bool), min_size=1, max_size=5, unique=True)
LIMITS = Limits(cell_characters=1_000, line_characters=5_000, columns=20, rows=1_000)


def parse_bytes(content, name):
    """The parser without its process: faster, and an exception is seen."""
    with tempfile.TemporaryDirectory() as folder:
        source, rows = Path(folder, "upload"), Path(folder, "rows")
        source.write_bytes(content)
        report = parse(source, rows, name, LIMITS)
        return report, [row.cells for row in rows_read(rows, report)] if report.usable else []


def check(content, name):
    report, rows = parse_bytes(content, name)

    json.dumps(report.to_json()).encode()
    assert report.num_problems >= len(report.problems)
    assert report.usable == bool(rows)
    assert report.usable or report.problems[0].sentence.endswith((".", ")", "”"))
    assert len(rows) == report.num_rows
    for cells in rows:
        assert len(cells) == len(report.columns)
        "".join(cells).encode()
        assert not any("\0" in cell for cell in cells)


@given(st.binary(max_size=500), st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.xlsx", "a.parquet"]))
@settings(max_examples=80)
def test_random_bytes_give_a_report(content, name):
    check(content, name)


@given(st.text(',;\t|"\n\r ab0\0é👋', max_size=200), st.sampled_from(["utf-8", "utf-16", "latin-1"]))
@settings(max_examples=80)
def test_random_text_gives_a_report(text, encoding):
    check(text.encode(encoding, "replace"), "a.csv")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    )
)
@settings(max_examples=30)
def test_any_json_value_gives_a_report(value):
    check(json.dumps(value).encode(), "a.jsonl")


@given(NAMES, st.data(), st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
@settings(max_examples=60)
def test_what_the_csv_library_writes_is_read_back(names, data, delimiter, encoding):
    rows = data.draw(st.lists(st.tuples(*[CELLS] * len(names)), min_size=1, max_size=8))
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([names, *rows])

    _, cells = parse_bytes(stream.getvalue().encode(encoding), "a.tsv" if delimiter == "\t" else "a.csv")

    assert cells == [row for row in rows if any(row)]


@given(NAMES, st.data())
@settings(max_examples=60)
def test_json_lines_are_read_back(names, data):
    rows = data.draw(st.lists(st.tuples(*[CELLS] * len(names)), min_size=1, max_size=8))
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=data.draw(st.booleans())) for row in rows]

    _, cells = parse_bytes("\n".join(lines).encode(), "a.jsonl")

    assert cells == [row for row in rows if any(row)]


@pytest.mark.slow
def test_two_thousand_damaged_files_give_reports():
    random.seed(20)
    seeds = [
        (b'text,label\n"hello, you",a\nbye,"b ""c"""\n' * 5, "a.csv"),
        ("text;label\nGrüße 👋;a\n".encode() * 5, "a.csv"),
        ("text\tlabel\nGrüße\ta\n".encode("utf-16") * 3, "a.tsv"),
        (b'{"text": "hello", "label": "a", "n": [1, {"a": null}]}\n' * 5, "a.jsonl"),
    ]
    for _ in range(500):
        for content, name in seeds:
            damaged = bytearray(content)
            for _ in range(random.randint(1, 6)):
                at = random.randrange(len(damaged))
                damaged[at : at + random.randint(0, 3)] = random.choice(
                    [b"", b"\0", b'"', b"\n", b"\xff", b",", b"{", bytes([random.randrange(256)])]
                )
            check(bytes(damaged), name)

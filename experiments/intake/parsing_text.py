"""CSV, TSV and JSON Lines as rows, read line by line. Runs inside the child process."""

import codecs
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from experiments.intake.encodings import encoding_guess, encoding_name
from experiments.intake.parsing import Limits, ParseReport
from experiments.intake.parsing_rows import BadFile, RowSink, check_names
from experiments.wording import quoted

if TYPE_CHECKING:
    import _csv

SAMPLE_BYTES = 64 * 1024
WORDS_SHOWN = 30  # characters on either side of a wrong byte
DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAVE_AS = "Save the file as “CSV UTF-8” (in a spreadsheet) or “UTF-8” (in an editor) and upload it again."


def csv_parse(path: Path, sink: RowSink, *, delimiter: str | None = None) -> ParseReport:
    """Rows of a delimited text file; the first row names the columns.

    Args:
        delimiter: None finds it among comma, semicolon, tab and vertical bar.
    """
    encoding = find_encoding(path)
    delimiter = delimiter or find_delimiter(path, encoding)
    csv.field_size_limit(sink.limits.cell_characters)
    with path.open(encoding=encoding, newline="") as text:
        _feed_csv(csv.reader(_lines(text, sink.limits), delimiter=delimiter, strict=True), sink)
    return sink.report(kind="csv", encoding=encoding, delimiter=delimiter)


def jsonl_parse(path: Path, sink: RowSink) -> ParseReport:
    """Rows of a JSON Lines file: one object a line, whose keys are the columns."""
    encoding = find_encoding(path)
    with path.open(encoding=encoding, newline="\n") as text:
        for number, line in enumerate(_lines(text, sink.limits), 1):
            if line.strip():
                _feed_object(number, line, sink)
    return sink.report(kind="jsonl", encoding=encoding)


def find_encoding(path: Path) -> str:
    """The encoding: by byte order mark, else UTF-8, checked to the last byte.

    Raises:
        BadFile: the bytes are not text in that encoding, with the place of the first wrong byte.
    """
    with path.open("rb") as source:
        head = source.read(SAMPLE_BYTES)
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), "utf-8")
        if encoding in ("utf-8", "utf-8-sig"):
            _refuse_binary(head)
        source.seek(0)
        _check_decodes(source, encoding)
    return encoding


def find_delimiter(path: Path, encoding: str) -> str:
    """The delimiter that divides the first records evenly; a comma for a file of one column.

    The header decides: it must have more than one name. The library's sniffer is not used, for it guesses from letter
    frequencies and takes quadratic time on hostile input.
    """
    with path.open(encoding=encoding, newline="") as text:
        sample = text.read(SAMPLE_BYTES)
    return max(DELIMITERS, key=lambda delimiter: _evenness(sample, delimiter))


def _evenness(sample: str, delimiter: str) -> tuple[float, int]:
    """Share of the first records that are as wide as the header, and that width; (0, 0) for a single column."""
    csv.field_size_limit(len(sample) + 1)
    widths: list[int] = []
    for record in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
        widths.append(len(record))
        if len(widths) > 20:
            break
    # The sample may cut the last record; with others to look at, it does not count.
    widths = [width for width in widths[: max(len(widths) - 1, 2)] if width]
    if not widths or widths[0] < 2:
        return (0.0, 0)
    return (widths.count(widths[0]) / len(widths), widths[0])


def _feed_csv(reader: "_csv.Reader", sink: RowSink) -> None:
    """Row numbers are a spreadsheet's: the header is row 1."""
    number = 0
    while True:
        number += 1
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if number == 1:
                raise BadFile(f"The first row cannot be read: {_csv_fault(error, sink.limits)}") from error
            sink.bad_row(number, f"Row {number:,} (line {line:,}): {_csv_fault(error, sink.limits)}")
            continue
        if number == 1:
            sink.header(cells)
        else:
            sink.row(number, cells)


def _csv_fault(error: csv.Error, limits: Limits) -> str:
    if "field limit" in str(error):
        most = f"{limits.cell_characters:,}"
        return f"a cell has more than {most} characters. Shorten it, or close the quote if one is opened there and never closed."
    if "expected after" in str(error):
        return 'a text goes on after its closing quote. Double the quotes inside a quoted cell (""), or remove the row.'
    return 'a quote is opened and never closed. Close it, or double it ("") if it is part of the text.'


def _feed_object(number: int, line: str, sink: RowSink) -> None:
    try:
        pairs = json.loads(line, object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        if number == 1 and line.lstrip().startswith("["):
            raise BadFile(_ARRAY) from error
        sink.bad_row(
            number,
            f"Line {number:,} is not valid JSON ({_json_fault(error)}). {_ONE_OBJECT}",
        )
        return
    if not isinstance(pairs, _Pairs):
        if number == 1 and isinstance(pairs, list):
            raise BadFile(_ARRAY)
        sink.bad_row(number, f"Line {number:,} is not an object. {_ONE_OBJECT}")
        return
    _feed_pairs(number, pairs, sink)


_ONE_OBJECT = 'Each line must be one object such as {"text": "…", "label": "…"}.'
_ARRAY = "The file is one JSON array. Save it as JSON Lines: one object a line, without brackets and commas around them."


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of an object, doubled keys included."""


def _feed_pairs(number: int, pairs: _Pairs, sink: RowSink) -> None:
    row = {key.strip(): value for key, value in pairs}
    if len(row) != len(pairs):
        sink.bad_row(number, f"Line {number:,} names a key twice. Give each key once.")
        return
    for key, value in row.items():
        if isinstance(value, list):
            sink.bad_row(
                number,
                f"Line {number:,}, {quoted(key)}: the value is a list or an object. Give a text, a number, true, false or null.",
                key,
            )
            return
    for key in row:
        if key not in sink.names:
            check_names([key], sink.limits)
            sink.add_column(key)
    sink.row(number, [_json_text(row.get(name)) for name in sink.names])


def _json_text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json_fault(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.lower()} at character {error.colno:,}"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"


def _lines(text: TextIO, limits: Limits) -> Iterator[str]:
    """The lines of a text, none longer than allowed: a file without line ends must not fill the memory."""
    number = 0
    while line := text.readline(limits.line_characters + 1):
        number += 1
        if len(line) > limits.line_characters:
            raise BadFile(
                f"Line {number:,} has more than {limits.line_characters:,} characters. Check that the rows stand on lines of their own."
            )
        yield line


def _check_decodes(source: io.BufferedReader, encoding: str) -> None:
    """Read to the end once; the sentence for a wrong byte names its offset and line."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, lines = 0, 1
    while True:
        chunk = source.read(1024 * 1024)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            start = error.start if isinstance(error, UnicodeDecodeError) else 0
            lines += chunk[: max(start - pending, 0)].count(b"\n")
            raise BadFile(_wrong_byte(source, encoding, max(offset - pending + start, 0), lines)) from error
        if not chunk:
            return
        offset += len(chunk)
        lines += text.count("\n") if encoding.startswith(("utf-16", "utf-32")) else chunk.count(b"\n")


def _wrong_byte(source: io.BufferedReader, encoding: str, offset: int, line: int) -> str:
    if not encoding.startswith("utf-8"):
        return f"The file says it is {encoding.upper()}, but byte {offset:,} (line {line:,}) is not. {_SAVE_AS}"
    start = max(offset - SAMPLE_BYTES // 2, 0)
    source.seek(start)
    sample = source.read(SAMPLE_BYTES)
    guess = encoding_guess(sample)
    looks = ""
    if guess:
        looks = f" The file looks like {encoding_name(guess)}, where this place reads {_reading(sample, offset - start, guess)}."
    return f"Byte {offset:,} (line {line:,}) is not UTF-8.{looks} {_SAVE_AS}"


def _reading(sample: bytes, place: int, encoding: str) -> str:
    """The words around a byte, within its line: a person sees by them whether the guess is right."""
    before = sample[:place].split(b"\n")[-1].decode(encoding, "ignore")
    after = sample[place:].split(b"\n")[0].decode(encoding, "ignore")
    return quoted(before[-WORDS_SHOWN:] + after[:WORDS_SHOWN])


def _refuse_binary(head: bytes) -> None:
    """Refuse what is no text at all, before thousands of odd rows are reported."""
    if head[:64].count(0) > 8 and (head[1:64:2].count(0) > 24 or head[0:64:2].count(0) > 24):
        raise BadFile(f"The file looks like UTF-16 without its opening mark. {_SAVE_AS}")
    control = sum(head.count(byte) for byte in range(32) if byte not in b"\t\n\r\x0b\x0c")
    if head and control > max(8, len(head) // 100):
        raise BadFile("The file is not text but binary data, whatever its name says. Export the table as CSV, TSV or JSON Lines.")

"""Tables as CSV files that a spreadsheet can open without running anything in them. Pure; no Django.

A text that a spreadsheet would take for a formula gets an apostrophe in front. Numbers are numbers by their type and
stay as they are.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from unicodedata import category

Cell = str | int | float | bool | Decimal | None

BYTE_ORDER_MARK = "\ufeff"  # tells Excel that the file is UTF-8
_STARTERS = "=+-@\t\r\n\0＝＋－＠"
_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


def cell_neutralised(text: str) -> str:
    """The text, with an apostrophe in front where a spreadsheet could read a formula.

    White space and invisible characters in front do not hide a formula from every program, so they do not hide it
    here either. NUL would make the file unreadable and is left out.
    """
    clean = text.replace("\0", "")
    visible = next((character for character in clean if not character.isspace() and category(character) not in ("Cc", "Cf")), "")
    if not any(starter in _STARTERS for starter in text[:1] + visible) or _NUMBER.fullmatch(clean):
        return clean
    return "'" + clean


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, for_spreadsheet: bool = True) -> Iterator[str]:
    """A CSV file line by line, the header first; commas, CRLF, quotes where needed.

    Args:
        for_spreadsheet: begin with a byte order mark, without which Excel misreads letters beyond ASCII.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    if for_spreadsheet:
        stream.write(BYTE_ORDER_MARK)
    writer.writerow([cell_neutralised(column) for column in columns])
    for row in rows:
        yield _taken(stream)
        writer.writerow([_csv_cell(cell) for cell in row])
    yield _taken(stream)


def _csv_cell(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float | Decimal) and not math.isfinite(cell)):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, Decimal):
        return format(cell, "f")
    return cell_neutralised(cell) if isinstance(cell, str) else repr(cell)


def _taken(stream: io.StringIO) -> str:
    text = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    return text

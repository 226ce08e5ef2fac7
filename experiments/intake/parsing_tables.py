"""Excel workbooks and Parquet files as rows. Runs inside the child process; the libraries are imported when needed."""

import datetime
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.intake.parsing import Limits, ParseReport
from experiments.intake.parsing_rows import BadFile, RowSink
from experiments.wording import counted, quoted

if TYPE_CHECKING:
    import pyarrow

MAX_MEMBERS = 1_000
BATCH_ROWS = 500


def xlsx_parse(path: Path, sink: RowSink) -> ParseReport:
    """Rows of the first sheet of a workbook; formulas give the value that was saved with them."""
    _check_archive(path, sink.limits)
    from openpyxl import load_workbook

    try:
        # An open file, because openpyxl judges a path by its ending.
        with path.open("rb") as source:
            book = load_workbook(source, read_only=True, data_only=True, keep_links=False)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # The declared size is a stranger's word; only real rows count.
            title, num_sheets = sheet.title, len(book.worksheets)
            _feed_sheet(sheet.iter_rows(values_only=True), sink)
    except (BadFile, MemoryError):
        raise
    except Exception as error:  # openpyxl lets errors of every kind through when the XML is not what it expects
        raise BadFile("The workbook is damaged or not a plain .xlsx file. Save it again, or export the sheet as CSV.") from error
    if num_sheets > 1:
        sink.notes.append(f"The workbook has {counted(num_sheets, 'sheet')}; the first, {quoted(title)}, was read.")
    return sink.report(kind="xlsx", sheet=title)


def parquet_parse(path: Path, sink: RowSink) -> ParseReport:
    """Rows of a Parquet file whose columns are plain values."""
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, memory_map=False) as table:
            _check_schema(table.schema_arrow, table.metadata.num_rows, sink)
            number = 0
            for batch in table.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    _feed_record(number, cells, sink)
    except arrow.ArrowException as error:
        raise BadFile(
            "The Parquet file is damaged or uses a feature that is not read here. Write it again, or export the table as CSV."
        ) from error
    return sink.report(kind="parquet")


def cell_text(value: object) -> str:
    """A cell's value as the text that prompts and labels are made of."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return str(value)


def _feed_record(number: int, cells: tuple[object, ...], sink: RowSink) -> None:
    try:
        sink.row(number, [cell_text(cell) for cell in cells])
    except UnicodeDecodeError as error:
        name = sink.names[cells.index(error.object)]
        fault = "the cell is not UTF-8 text. Store it as text, or remove the row."
        sink.bad_row(number, f"Row {number:,}, column {quoted(name)}: {fault}", name)


def _feed_sheet(rows: Iterable[tuple[object, ...]], sink: RowSink) -> None:
    for number, cells in enumerate(rows, 1):
        if number > sink.limits.rows + 1:
            raise BadFile(f"The sheet has more than {sink.limits.rows:,} rows. Split it into smaller files.")
        texts = [cell_text(cell) for cell in cells]
        if number == 1:
            sink.header(texts)
        else:
            # Rows of a sheet end at their last filled cell.
            sink.row(number, texts + [""] * (len(sink.names) - len(texts)))


def _check_archive(path: Path, limits: Limits) -> None:
    """Refuse archives that would unpack to far more than they weigh, before anything is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BadFile("The workbook is damaged. Save it again, or export the sheet as CSV.") from error
    unpacked = sum(member.file_size for member in members)
    packed = max(sum(member.compress_size for member in members), 1)
    if len(members) > MAX_MEMBERS or unpacked > limits.unpacked_bytes or (unpacked > 1_000_000 and unpacked / packed > limits.unpack_ratio):
        raise BadFile("The workbook unpacks to far more than its size allows. Export the sheet as CSV and upload that.")
    if any(member.flag_bits & 1 for member in members):
        raise BadFile("The workbook is protected by a password. Save it without one, or export the sheet as CSV.")


def _check_schema(schema: "pyarrow.Schema", num_rows: int, sink: RowSink) -> None:
    import pyarrow as arrow

    if num_rows > sink.limits.rows:
        raise BadFile(f"The file has {num_rows:,} rows, more than the {sink.limits.rows:,} allowed. Split it into smaller files.")
    for column in schema:
        if arrow.types.is_nested(column.type):
            raise BadFile(f"Column {quoted(column.name)} holds lists or records. Keep columns of texts, numbers and dates only.")
    sink.header(schema.names)
    if len(sink.names) != len(schema.names):
        raise BadFile("The last columns have no name. Name them, or leave them out.")

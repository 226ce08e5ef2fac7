"""The child process that reads an uploaded file: `python -m experiments.intake.parsing_child`, a request on stdin, a report on stdout.

It takes its limits before it touches a byte of the file. Whatever the file holds, the answer is a report.
"""

import json
import os
import resource
import sys
from pathlib import Path

from experiments.intake.parsing import Limits, ParseReport, failed_report
from experiments.intake.parsing_rows import BadFile, RowSink

_MAGIC = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive", ".xlsx"),
    (b"PAR1", "a Parquet file", ".parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", None),
    (b"%PDF", "a PDF document", None),
    (b"\x1f\x8b", "a gzip archive", None),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", None),
    (b"BZh", "a bzip2 archive", None),
    (b"\x89PNG", "a picture", None),
    (b"\xff\xd8\xff", "a picture", None),
    (b"GIF8", "a picture", None),
    (b"SQLite format 3", "a database", None),
)
_ENDINGS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
}


def main() -> None:
    """Read the request, take the limits, write the report."""
    request = json.load(sys.stdin)
    limits = Limits(**request["limits"])
    take_limits(limits)
    json.dump(parse(Path(request["source"]), Path(request["destination"]), request["name"], limits).to_json(), sys.stdout)


def take_limits(limits: Limits) -> None:
    """Bind this process to its memory, CPU time and output; the system ends it when it passes them."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.output_bytes, limits.output_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def parse(source: Path, destination: Path, name: str, limits: Limits) -> ParseReport:
    """The report about a file; its good rows are written to `destination`."""
    try:
        kind = find_kind(source, name, limits)
        with destination.open("wb") as output:
            return _parse_kind(kind, source, RowSink(output, limits))
    except BadFile as error:
        return failed_report(str(error))
    except MemoryError:
        return failed_report("Reading the file needs more memory than one upload may take. Split it into smaller files, or save it as CSV.")
    except OSError as error:
        cause = os.strerror(error.errno or 0).lower()
        return failed_report(f"The file could not be read, or its rows could not be stored ({cause}). Try again, or upload a smaller file.")


def find_kind(source: Path, name: str, limits: Limits) -> str:
    """What the file holds: its ending says it and its first bytes must not contradict.

    Raises:
        BadFile: too large, empty, of an unknown kind, or something else than its name says.
    """
    size = source.stat().st_size
    if size > limits.file_bytes:
        raise BadFile(f"The file has {size / 2**20:,.0f} MB; {limits.file_bytes / 2**20:,.0f} MB are allowed. Split it into smaller files.")
    if not size:
        raise BadFile("The file is empty.")
    ending = Path(name).suffix.lower()
    kind = _ENDINGS.get(ending)
    if kind is None:
        files = f"Files ending in {ending}" if ending else "Files without an ending"
        raise BadFile(f"{files} are not read. Upload CSV, TSV, JSON Lines, Excel (.xlsx) or Parquet.")
    with source.open("rb") as file:
        head = file.read(16)
    _check_magic(head, ending)
    return kind


def _check_magic(head: bytes, ending: str) -> None:
    found, right = next(((words, right) for magic, words, right in _MAGIC if head.startswith(magic)), ("text", None))
    if ending in (".xlsx", ".parquet") and right != ending:
        expected = "an Excel workbook" if ending == ".xlsx" else "a Parquet file"
        raise BadFile(f"The file is named {ending} but holds {found}, not {expected}. Save the table in the format that its name says.")
    if ending not in (".xlsx", ".parquet") and found != "text":
        remedy = f"Rename it to {right}, or export" if right else "Export"
        raise BadFile(f"The file is named {ending} but is {found}. {remedy} the table as CSV.")


def _parse_kind(kind: str, source: Path, sink: RowSink) -> ParseReport:
    # Each reader is imported only when needed: a CSV needs neither openpyxl nor pyarrow.
    if kind in ("xlsx", "parquet"):
        from experiments.intake import parsing_tables

        return parsing_tables.xlsx_parse(source, sink) if kind == "xlsx" else parsing_tables.parquet_parse(source, sink)
    from experiments.intake import parsing_text

    if kind == "jsonl":
        return parsing_text.jsonl_parse(source, sink)
    return parsing_text.csv_parse(source, sink, delimiter="\t" if kind == "tsv" else None)


if __name__ == "__main__":
    main()

"""The process side of parsing: a child with limits, and nothing left behind."""

from experiments.intake.parsing import Limits, file_parse, rows_read


def upload(tmp_path, content, **limits):
    (tmp_path / "upload").write_bytes(content)
    return file_parse(source=tmp_path / "upload", destination=tmp_path / "rows.jsonl", name="rows.csv", limits=Limits(**limits))


def test_a_file_goes_through_the_child_and_leaves_its_rows(tmp_path):
    report = upload(tmp_path, "text,label\nGrüße 👋,a\n".encode())

    assert report.usable
    assert [row.cells for row in rows_read(tmp_path / "rows.jsonl", report)] == [("Grüße 👋", "a")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "upload"]


def test_a_refused_file_leaves_nothing_behind(tmp_path):
    assert not upload(tmp_path, b"text,text\na,b\n").usable
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


def test_an_older_result_survives_a_refused_file(tmp_path):
    upload(tmp_path, b"text\na\n")
    before = (tmp_path / "rows.jsonl").read_bytes()

    assert not upload(tmp_path, b"").usable
    assert (tmp_path / "rows.jsonl").read_bytes() == before


def test_the_child_is_ended_when_it_needs_too_much_processor_time(tmp_path):
    report = upload(tmp_path, b"text,label\n" + b"hello,a\n" * 900_000, cpu_seconds=1)

    assert report.problems[0].sentence.startswith("Reading the file needed more memory or time than one upload may take.")
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


def test_the_child_is_ended_when_it_needs_too_much_output(tmp_path):
    report = upload(tmp_path, b"text\n" + b"hello\n" * 10_000, output_bytes=20_000)

    assert "its rows could not be stored (file too large)" in report.problems[0].sentence
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


def test_a_missing_upload_is_said_and_not_raised(tmp_path):
    report = file_parse(source=tmp_path / "nothing", destination=tmp_path / "rows.jsonl", name="rows.csv")

    assert "could not be read" in report.problems[0].sentence


def test_the_child_inherits_nothing_of_its_parents_environment(monkeypatch, tmp_path):
    code = "import os, pathlib; pathlib.Path(os.environ['SPY']).write_text('seen')"
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SPY", str(tmp_path / "seen"))

    assert upload(tmp_path, b"text\na\n").usable
    assert not (tmp_path / "seen").exists()

"""The report grows with every measure, keeps the parts of an equal benchmark and no others."""

import json

import pytest

from workers.bench.gates import GATES
from workers.bench.protocol import Entry
from workers.bench.table import Report, print_table

FACTS = {
    "commit": "0a1b",
    "mode": "full",
    "clock": "wall",
    "shape": "s",
    "dtype": "fp32",
    "threads": 2,
    "rounds": 2,
    "versions": {"torch": "1"},
    "machine": {},
}


def entry(name, **more):
    return Entry(name, "peer", "rows/s", 20.0, 2.0, 10.0, **more)


def read(file):
    return json.loads(file.read_text())


def test_a_measure_stands_in_the_file_as_soon_as_it_ends(tmp_path):
    report = Report(tmp_path / "bench" / "latest.json", FACTS)

    report.add(entry("b1", gate=2.5, ok=True))

    written = read(report.file)
    wanted = {"id": "b1", "peer": "peer", "ours": 20.0, "peer_value": 2.0, "unit": "rows/s", "ratio": 10.0}
    assert written["entries"][0].items() >= (wanted | {"gate": 2.5, "goal": None, "limit": None, "ok": True}).items()
    assert written["versions"] == {"torch": "1"}


def test_parts_of_an_equal_benchmark_are_joined_in_the_order_of_the_gates(tmp_path):
    Report(tmp_path / "latest.json", FACTS).add(entry("c2"))

    later = Report(tmp_path / "latest.json", FACTS)
    later.add(entry("a1"))
    later.add(entry("c2", note="anew"))

    assert [(each["id"], each["note"]) for each in read(later.file)["entries"]] == [("a1", ""), ("c2", "anew")]


@pytest.mark.parametrize("other", [{"commit": "0a1c"}, {"mode": "quick"}, {"clock": "cpu"}, {"versions": {"torch": "2"}}, {"threads": 1}])
def test_figures_of_another_kind_are_not_mixed_in(tmp_path, other):
    Report(tmp_path / "latest.json", FACTS | other).add(entry("a1"))

    assert Report(tmp_path / "latest.json", FACTS).entries == []


def test_a_measure_that_fails_takes_its_old_figure_away_and_comes_back_with_a_new_one(tmp_path):
    report = Report(tmp_path / "latest.json", FACTS)
    report.add(entry("a1"))

    report.fail("a1", "not equal")
    assert read(report.file)["failures"] == {"a1": "not equal"}
    assert read(report.file)["entries"] == []

    report.add(entry("a1"))
    assert read(report.file)["failures"] == {}


def test_a_broken_report_is_begun_anew(tmp_path):
    (tmp_path / "latest.json").write_text("{")

    assert Report(tmp_path / "latest.json", FACTS).entries == []


def test_the_table_shows_verdicts_and_what_each_measure_is(capsys):
    print_table([entry("a1", ok=True), entry("b1", ok=False), entry("c1-p20", equal="answers the same")])

    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("ok")
    assert lines[2].endswith("MISSED")
    assert lines[3].endswith("-")
    assert f"c1-p20: {GATES['c1-p20'].what}. answers the same" in lines

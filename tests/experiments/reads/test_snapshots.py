"""A report is a copy by an explicit list: nothing else gets in, and nothing that happens later reaches it."""

import json

import pytest
from django.urls import reverse

from experiments.models import Approach, Example, Experiment, Report
from experiments.reads.report_files import report_csv
from experiments.reads.snapshots import ALLOWED, caveats, snapshot_digest
from experiments.services.experiments import comparison_store
from experiments.services.reports import report_create
from tests.comparison_data import make_finished_experiment, make_price_book

pytestmark = pytest.mark.django_db

# Where -> what: every value that a snapshot may hold.
ALLOWED_VALUES = {
    "": "baseline baseline_chosen best caveats equals headline level made_at margin n num_labels question schema seeds signature split "
    "task title",
    "circumstances": "device device_name dtype",
    "circumstances.versions": "numpy peft python scikit-learn torch transformers",
    "data": "attribution content_sha256 findings name number",
    "data.counts": "test train unlabelled validation",
    "examples.answers": "answer approach correct",
    "examples": "right text",
    "generation": "form written",
    "methods": "approach num_seeds sentence",
    "missing": "family name reason state",
    "mix_ups": "answer right rows",
    "model": "name revision",
    "money.book": "currency effective_on name",
    "money.book.prices": "device_hour input_million_tokens labelled_row output_million_tokens person_hour wrong_answer",
    "money.demand": "months peak_factor requests reserved",
    "money.prices": "currency",
    "money.rows.amortised_per_thousand": "value",
    "money.rows": "approach passes replicas",
    "money.rows.break_even": "high low pays requests sentence",
    "money.rows.break_even_with_mistakes": "high low pays requests sentence",
    "money.rows.mistakes_per_thousand": "value",
    "money.rows.monthly": "value",
    "latency": "cores load measured_at requests withheld",
    "latency.machine": "device device_name threads",
    "money.rows.one_off": "value",
    "money.rows.per_thousand": "value",
    "money.rows.per_thousand_high": "value",
    "money.rows.per_thousand_low": "value",
    "money.rows.totals": "value",
    "money": "volumes",
    "learning": "currency n num_train seconds seeds sentences",
    "learning.lines": "family method name position",
    "learning.lines.points": "accuracy cost high highest low lowest n num_seeds rows seconds",
    "learning.lines.points.delta": "high low p_adjusted value verdict",
    "learning.missing": "name reason state",
    "learning.written": "accuracy family high low method name position",
    "prompts": "answer_cue approach first_step num_examples system user",
    "rows": "accuracy approach artifact_bytes chosen_because correct coverage errors family high low macro_f1 macro_f1_high macro_f1_low "
    "method n name position rows_per_second seed skipped total_parameters train_seconds trainable written_after_test "
    "configurations one_configuration_because",
    **{f"rows.closeness.{metric}": "high low value" for metric in ("chrf", "format", "rouge_l", "token_f1")},
    "rows.forgetting": "after before",
    "rows.agreement": "agreed rows",
    "rows.cost": "currency high low passes per_thousand reason",
    "rows.delta": "high low not_worse num_compared p_adjusted sentence value verdict",
    "rows.latency": "cpu_p50_ms p50_ms p95_ms rows withheld",
    "rows.spread": "deviation highest lowest mean num_seeds",
    "rows.tokens": "billed billed_input billed_output completion computed context fixed row virtual",
    "spending": "family method name points position seed",
    "test_openings": "count opened_at",
}
FIELDS = [f"{where}.{name}".lstrip(".") for where, names in ALLOWED_VALUES.items() for name in names.split()]


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, num_test=30, price_book=make_price_book(workspace)))


@pytest.fixture
def experiment(made):
    return Experiment.objects.get(pk=made.pk)


def paths(value, prefix=""):
    """Every path to a value in nested JSON; lists count as their items."""
    if isinstance(value, dict):
        return {path for name, item in value.items() for path in paths(item, f"{prefix}.{name}" if prefix else name)} or {prefix}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return {path for item in value for path in paths(item, prefix)}
    return {prefix}


def allowed_paths(allowed, prefix=""):
    here = {f"{prefix}{name}" for name, nested in allowed.items() if nested is None}
    return here.union(*(allowed_paths(nested, f"{prefix}{name}.") for name, nested in allowed.items() if nested))


def test_the_list_of_fields_is_this_one_and_a_new_field_needs_a_decision():
    assert sorted(allowed_paths(ALLOWED)) == sorted(FIELDS)


def test_a_snapshot_holds_nothing_beyond_the_list(experiment, alice):
    report = report_create(experiment=experiment, by=alice, includes_prompts=True, includes_examples=True)
    containers = {path.rsplit(".", depth)[0] for path in FIELDS for depth in range(1, path.count(".") + 1)}

    assert paths(report.payload) <= set(FIELDS) | containers


def test_a_new_field_of_the_comparison_does_not_get_in(experiment, alice):
    payload = experiment.tables.get(split="test").payload
    payload["secret_plan"] = "x"
    payload["rows"][0]["internal_note"] = "x"
    payload["rows"][0]["method"] = {"nested": "x"}
    comparison_store(experiment=experiment, split="test", payload=payload, job=None)

    text = json.dumps(report_create(experiment=experiment, by=alice).payload)

    assert "secret_plan" not in text
    assert "internal_note" not in text
    assert "nested" not in text


def test_prompts_and_rows_stay_out_unless_asked_for(experiment, alice):
    closed = json.dumps(report_create(experiment=experiment, by=alice).payload)
    opened = json.dumps(report_create(experiment=experiment, by=alice, includes_prompts=True, includes_examples=True).payload)

    for words in ["Classify the message", "test message 0 about"]:
        assert words not in closed
        assert words in opened


def test_a_report_stays_as_it_was_when_the_comparison_changes(experiment, alice):
    report = report_create(experiment=experiment, by=alice)
    before = report.payload_sha256

    Approach.objects.filter(experiment=experiment).update(name="Renamed")
    Example.objects.filter(version=experiment.dataset_version).update(label="other")
    comparison_store(experiment=experiment, split="test", payload={"rows": []}, job=None)

    report = Report.objects.get(pk=report.pk)
    assert snapshot_digest(report.payload) == before
    assert "Renamed" not in json.dumps(report.payload)


def test_headline_is_a_sentence_with_interval_baseline_and_money(experiment, alice):
    headline = report_create(experiment=experiment, by=alice).payload["headline"]

    assert headline.startswith("On 30 test rows, TF-IDF + logistic regression answered ")
    assert "the best written prompt," in headline


def test_caveats_name_what_a_reader_must_know(experiment, alice):
    report = report_create(experiment=experiment, by=alice, split="validation")

    assert any("validation rows, by which choices were made" in sentence for sentence in report.payload["caveats"])
    assert any("2 seeds" in sentence for sentence in report.payload["caveats"])


def test_what_the_checks_of_the_data_found_stands_in_one_line_with_counts(client_for, experiment, alice):
    version = experiment.dataset_version
    codes = {"duplicates": 1204, "contradicting_labels": 1, "few_test_rows": 30, "labels_missing_from_test": 2}
    version.gate_report = {"findings": [{"code": code, "severity": "warns", "sentence": "", "count": n} for code, n in codes.items()]}
    version.save(update_fields=["gate_report"])
    line = "Same text, other label: 1 row. Same text in one split: 1,204 rows. Labels missing from test: 2"

    report = report_create(experiment=experiment, by=alice)
    page = client_for(alice).get(reverse("report-detail", args=["acme", report.pk])).content.decode()
    version.gate_report = {}
    version.save(update_fields=["gate_report"])
    clean = report_create(experiment=experiment, by=alice)

    assert report.payload["data"]["findings"] == line
    assert line in page
    assert clean.payload["data"]["findings"] == ""
    assert "Checks of the data" not in client_for(alice).get(reverse("report-detail", args=["acme", clean.pk])).content.decode()


@pytest.mark.parametrize(("seeds", "said"), [((0,), "with one seed"), ((0, 1, 2), "with 3 seeds"), ((0, 1, 2, 3, 4), None)])
def test_too_few_seeds_are_said(seeds, said):
    rows = [{"family": "tuned", "spread": {"num_seeds": len(seeds)}, "written_after_test": None, "name": "LoRA"}]
    payload = {"split": "test", "rows": rows, "n": 3080, "missing": []}

    sentences = [sentence for sentence in caveats(payload, num_openings=1) if "seed" in sentence]

    assert [said in sentence for sentence in sentences] == ([True] if said else [])


def test_csv_neutralises_formulas_and_says_unknown(workspace, alice):
    experiment = make_finished_experiment(workspace)
    payload = experiment.tables.get().payload
    payload["rows"][0]["name"] = '=HYPERLINK("http://example.org")'
    comparison_store(experiment=experiment, split="validation", payload=payload, job=None)

    text = "".join(report_csv(report_create(experiment=experiment, by=alice).payload))

    assert "'=HYPERLINK" in text
    assert ",unknown," in text


def test_preview_shows_what_visitors_will_see(client_for, alice, experiment):
    client = client_for(alice)
    address = reverse("report-create", args=["acme", experiment.pk])

    plain = client.get(address).content.decode()
    asked = {"title": "For the board", "split": "test", "includes_prompts": "on", "preview": "1"}
    wordy = client.post(address, asked).content.decode()

    assert "Classify the message" not in plain
    assert "Classify the message" in wordy
    assert "For the board" in wordy
    assert not Report.objects.exists()
    assert 'formmethod="get"' not in plain, "a GET would carry the form's token in the address"


def test_member_makes_a_report_and_exports_it(client_for, alice, experiment):
    client = client_for(alice)
    made = client.post(reverse("report-create", args=["acme", experiment.pk]), {"title": "For the board", "split": "test"})
    report = Report.objects.get()

    assert made.url == reverse("report-detail", args=["acme", report.pk])
    assert made.url in client.get(reverse("comparison-detail", args=["acme", experiment.pk])).content.decode()
    assert "On 30 test rows" in client.get(made.url).content.decode()
    assert client.get(reverse("report-csv", args=["acme", report.pk]))["Content-Disposition"] == 'attachment; filename="for-the-board.csv"'
    assert client.get(reverse("report-json", args=["acme", report.pk])).json()["title"] == "For the board"


def test_a_report_says_how_many_unlabelled_rows_the_data_has(client_for, alice, experiment):
    address = reverse("report-detail", args=["acme", report_create(experiment=experiment, by=alice).pk])
    assert "unlabelled" not in client_for(alice).get(address).content.decode()
    version = experiment.dataset_version
    version.split_counts["unlabelled"] = 900
    version.save()

    later = report_create(experiment=experiment, by=alice)

    assert "900 unlabelled rows" in client_for(alice).get(reverse("report-detail", args=["acme", later.pk])).content.decode()


@pytest.mark.parametrize("name", ["report-detail", "report-csv", "report-json"])
def test_stranger_gets_404(client_for, charlie, alice, experiment, name):
    report = report_create(experiment=experiment, by=alice)

    assert client_for(charlie).get(reverse(name, args=["acme", report.pk])).status_code == 404


def test_viewer_reads_reports_but_makes_none(client_for, bob, alice, experiment):
    report = report_create(experiment=experiment, by=alice)
    client = client_for(bob)

    assert client.get(reverse("report-detail", args=["acme", report.pk])).status_code == 200
    assert client.post(reverse("report-create", args=["acme", experiment.pk]), {"title": "x", "split": "test"}).status_code == 403

"""A learning curve: the comparison's own runs are its last point, seeds have a middle one, and sentences claim what the tests allow."""

from typing import Any

import pytest

from experiments.reads.learning_chart import learning_chart
from experiments.reads.learning_view import learning_view
from experiments.reads.learning_words import curve_sentences, passes_from
from experiments.reads.snapshots import snapshot_build
from tests.comparison_data import make_finished_experiment, make_price_book
from tests.curve_data import make_drawn_curve

NUM_ROWS = 400


def point(rows: int, accuracy: float, verdict: str = "no detectable difference") -> dict[str, Any]:
    return {
        "rows": rows,
        "accuracy": accuracy,
        "low": accuracy - 0.03,
        "high": accuracy + 0.03,
        "cost": None,
        "delta": {"verdict": verdict},
    }


def line(name: str, *points: dict[str, Any], family: str = "tuned") -> dict[str, Any]:
    return {"name": name, "family": family, "method": "lora", "points": list(points)}


def words(*lines: dict[str, Any], written: float | None = 0.6) -> list[str]:
    prompt = {"name": "Careful v2", "accuracy": written} if written is not None else None
    return curve_sentences({"lines": lines, "written": prompt, "n": 500, "num_train": 9_000})


def test_first_sentence_names_the_fewest_rows_that_pass():
    slow = line("LoRA", point(16, 0.2, "worse"), point(256, 0.61), point(9_000, 0.9, "better"))
    quick = line("Soft prompt", point(16, 0.3, "worse"), point(256, 0.7, "better"), point(9_000, 0.8, "better"))

    assert words(slow, quick)[0] == (
        "With 256 train rows Soft prompt passes the best written prompt, Careful v2: 70.0% against 60.0% of 500 validation rows."
    )


def test_better_once_and_not_with_more_rows_does_not_count():
    lucky = line("LoRA", point(16, 0.7, "better"), point(256, 0.61), point(9_000, 0.9, "better"))

    assert passes_from(lucky) == 9_000
    assert words(lucky)[0].startswith("Only with all 9,000 train rows does LoRA pass")


def test_cells_say_what_they_are_measured_against_and_are_green_only_from_where_on_it_holds():
    lucky = line("LoRA", point(16, 0.4, "worse"), point(64, 0.7, "better"), point(256, 0.61), point(9_000, 0.9, "better"))
    view = learning_view({"lines": [lucky], "written": None, "num_train": 9_000})
    assert view is not None

    assert [(cell["said"], cell["tone"]) for cell in view.rows[0].cells if cell] == [
        ("below the prompt", "delta-worse"),
        ("above the prompt here, not with every larger number", ""),
        ("no detectable difference", ""),
        ("above the prompt", "delta-better"),
    ]


def test_higher_but_within_chance_is_not_called_better():
    sentence = words(line("LoRA", point(16, 0.5), point(9_000, 0.62)))[0]

    assert sentence.startswith("No number of rows tried makes a learned approach detectably better than the best written prompt")


def test_plain_baseline_that_does_as_well_is_named():
    tuned = line("LoRA", point(256, 0.7, "better"), point(9_000, 0.8, "better"))
    plain = line("TF-IDF", point(256, 0.75, "better"), point(9_000, 0.85, "better"), family="baseline")

    assert "The plain baseline TF-IDF has 75.0% with the same 256 rows." in words(tuned, plain)


def test_last_step_says_whether_more_rows_help():
    assert words(line("LoRA", point(1_024, 0.7, "better"), point(9_000, 0.705, "better")))[-1] == (
        "From 1,024 to all 9,000 rows LoRA gains 0.5 points, so more rows of this kind bring little."
    )
    assert words(line("LoRA", point(256, 0.7), point(1_024, 0.8)))[-1].endswith("gains 10.0 points: it was still learning.")
    assert words(line("LoRA", point(64, 0.7), point(164, 0.75)))[-1].endswith(
        "gains 5.0 points, which may be chance: the intervals overlap."
    )


def test_comparison_without_a_written_prompt_claims_nothing_about_one():
    lonely = line("LoRA", *({**point(rows, accuracy), "delta": None} for rows, accuracy in ((16, 0.5), (9_000, 0.8))))

    assert words(lonely, written=None)[0].endswith("no written prompt stands beside it.")


@pytest.fixture(scope="module")
def payload(make_once):
    def build(workspace):
        experiment = make_finished_experiment(workspace, num_validation=NUM_ROWS, price_book=make_price_book(workspace))
        return make_drawn_curve(experiment).learning_curve

    return make_once(build)


@pytest.mark.django_db
def test_points_come_from_the_curve_and_the_last_from_the_comparison(payload):
    lora = next(each for each in payload["lines"] if each["name"] == "LoRA")

    assert [each["rows"] for each in lora["points"]] == [16, 60]
    assert lora["points"][0]["accuracy"] < lora["points"][1]["accuracy"]
    assert lora["points"][1]["accuracy"] == pytest.approx(0.89, abs=0.03)
    assert {each["n"] for each in lora["points"]} == {NUM_ROWS}
    assert [each["name"] for each in payload["lines"]].count("LoRA") == 1
    assert payload["written"]["name"] == "Few-shot: Careful v3"


@pytest.mark.django_db
def test_point_is_the_middle_seed_with_its_own_interval(payload):
    first = payload["lines"][0]["points"][0]

    assert first["num_seeds"] == 2
    assert first["accuracy"] == first["lowest"] <= first["highest"]
    assert first["low"] < first["accuracy"] < first["high"]


@pytest.mark.django_db
def test_points_are_judged_against_the_best_written_prompt(payload):
    lora = next(each for each in payload["lines"] if each["name"] == "LoRA")

    assert [each["delta"]["verdict"] for each in lora["points"]] == ["worse", "better"]
    assert payload["sentences"][0].startswith("Only with all 60 train rows does LoRA pass")


@pytest.mark.django_db
def test_figure_has_a_log_axis_a_colour_for_each_line_and_every_interval(payload):
    chart = learning_chart(payload)
    assert chart is not None
    level, *lines = chart.figure["data"]

    assert chart.figure["layout"]["xaxis"]["type"] == "log"
    assert chart.figure["layout"]["xaxis"]["ticktext"] == ["16", "all 60"]
    assert level["y"] == [payload["written"]["accuracy"]] * 2
    assert len({each["line"]["color"] for each in [level, *lines]}) == 1 + len(lines)
    assert all(len(each["error_y"]["array"]) == 2 for each in lines)
    assert len(chart.rows) == 2 * len(lines)


@pytest.mark.django_db
def test_labels_are_part_of_a_point_s_cost_and_unknown_without_their_price(payload):
    assert payload["lines"][0]["points"][0]["cost"] is None  # this price book does not say what a labelled row costs

    view = learning_view(payload)
    assert view is not None
    assert not view.has_costs


@pytest.mark.django_db
def test_report_holds_the_curve_and_no_id_of_the_database(payload):
    from experiments.models import Experiment

    experiment = Experiment.objects.get(curve__isnull=False)
    table = experiment.tables.get()
    options: dict[str, Any] = {"title": "T", "now": table.computed_at, "includes_prompts": False, "includes_examples": False}

    frozen = snapshot_build(experiment, table.payload, **options)

    assert frozen["learning"]["sentences"] == payload["sentences"]
    assert learning_view(frozen["learning"]) is not None
    assert str(experiment.pk) not in str(frozen["learning"])

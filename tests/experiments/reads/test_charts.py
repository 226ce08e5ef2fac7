"""Figures are plain data: an own colour for each approach, nobody's text read as markup, and the same numbers as a table."""

import json

import pytest

from experiments.models import ComparisonTable
from experiments.reads.charts import Chart, axes_layout, break_even_chart, pareto_front, plain, quality_chart
from experiments.reads.curve_charts import Curve, curve_charts
from tests.comparison_data import make_finished_experiment, make_price_book

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, price_book=make_price_book(workspace)))


@pytest.fixture
def payload(made):
    return ComparisonTable.objects.get(experiment=made).payload


def drawn(chart: Chart | None) -> Chart:
    assert chart is not None
    return chart


def test_pareto_front_keeps_what_nothing_beats():
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (3.0, 0.7), (4.0, 0.9), (1.0, 0.5)]

    assert pareto_front(points) == [0, 2, 4]


def test_people_s_words_are_shown_as_written():
    assert plain('<a href="x">&') == '&lt;a href="x"&gt;&amp;'


def test_quality_chart_uses_money_when_every_price_is_known(payload):
    chart = drawn(quality_chart(payload))

    assert chart.title == "Right answers against cost"
    ticks = chart.figure["layout"]["xaxis"]
    assert (ticks["exponentformat"], ticks["tickprefix"]) == ("none", "€"), "else Plotly writes 200μ"
    assert len(chart.rows) == len(payload["rows"])
    assert [trace["marker"]["color"] for trace in chart.figure["data"][1:]] == [f"token:approach-{place}" for place in range(1, 11)]


def test_a_cost_that_varies_from_pass_to_pass_has_a_bar_and_a_single_one_has_none(payload):
    payload["rows"][0]["cost"] |= {"per_thousand": "0.3", "low": "0.2", "high": "0.5", "passes": 2}

    chart = drawn(quality_chart(payload))
    first, second = chart.figure["data"][1:3]

    assert (first["error_x"]["array"], first["error_x"]["arrayminus"]) == (pytest.approx([0.2]), pytest.approx([0.1]))
    assert "error_x" not in second
    assert chart.summary.endswith("Bars sideways go from the fastest to the slowest measurement.")


def test_an_approach_that_is_cheap_and_worse_than_the_best_written_prompt_is_no_winner_in_words_and_on_the_line(payload):
    rows = {row["name"]: row for row in payload["rows"]}
    assert rows["Most frequent label"]["cost"]["per_thousand"] == min(row["cost"]["per_thousand"] for row in payload["rows"])

    chart = drawn(quality_chart(payload))
    [line] = [trace for trace in chart.figure["data"] if trace["name"] == "Pareto front"]

    assert "Most frequent label" not in chart.summary
    assert "better than TF-IDF + logistic regression and Hybrid; the dotted line joins them." in chart.summary
    named = [rows[name] for name in ("TF-IDF + logistic regression", "Hybrid")]
    assert line["x"] == [float(row["cost"]["per_thousand"]) for row in named]
    assert line["y"] == [row["accuracy"] for row in named]


def test_quality_chart_falls_back_to_tokens_and_says_so(payload):
    payload["rows"][0]["cost"]["per_thousand"] = None

    chart = drawn(quality_chart(payload))

    assert chart.title == "Right answers against tokens"
    assert "tickprefix" not in chart.figure["layout"]["xaxis"]
    assert chart.columns[1] == "Computed tokens a request"


def test_no_break_even_chart_without_prices(workspace):
    assert break_even_chart(make_finished_experiment(workspace).tables.get().payload) is None


def test_break_even_chart_holds_the_baseline_and_the_best_of_each_family(payload):
    chart = drawn(break_even_chart(payload))
    names = [row[0] for row in chart.rows]

    assert len({trace["line"]["dash"] for trace in chart.figure["data"]}) == len(names) == 5
    assert "LoRA" in names
    assert any(name.startswith("Few-shot") for name in names)
    assert len(names) <= 6


def test_curves_leave_out_looks_without_a_value():
    points = (
        {"step": 0, "seconds": 0, "train_loss": None, "validation_accuracy": 0.1},
        {"step": 5, "seconds": 2, "train_loss": 1.0, "validation_accuracy": 0.4},
    )

    accuracy, loss = curve_charts([Curve("LoRA", "tuned", "circle", 1, points)], against="seconds")

    assert accuracy.figure["data"][0]["x"] == [0, 2]
    assert loss.figure["data"][0]["x"] == [2]
    assert curve_charts([Curve("LoRA", "tuned", "circle", 1, ())]) == []


def test_looks_at_fewer_rows_than_the_results_count_say_so_at_the_chart():
    points = ({"step": 5, "seconds": 2, "train_loss": 1.0, "validation_accuracy": 0.4},)

    some, loss = curve_charts([Curve("LoRA", "tuned", "circle", 1, points, looks_at=128)])
    mixed, _ = curve_charts([Curve(name, "tuned", "circle", 1, points, looks_at=rows) for name, rows in (("LoRA", 128), ("IA3", 1512))])
    every, _ = curve_charts([Curve("LoRA", "tuned", "circle", 1, points)])

    assert some.summary.endswith("Looks at 128 validation rows; the results count all of them.")
    assert "Looks at 128 to 1,512 validation rows" in mixed.summary
    assert "ooks at" not in every.summary + loss.summary


def test_looks_at_train_rows_set_aside_have_charts_of_their_own():
    points = ({"step": 5, "seconds": 2, "train_loss": 1.0, "validation_accuracy": None, "inner_accuracy": 0.4, "inner_loss": 2.0},)

    charts = curve_charts([Curve("LoRA", "tuned", "circle", 1, points)])

    assert [chart.title for chart in charts] == ["Right on train rows set aside", "Loss on train rows"]


def test_loss_is_drawn_from_every_stretch_and_the_axis_shows_what_is_still_to_come():
    looks = ({"step": 0, "train_loss": None, "validation_accuracy": 0.2, "seconds": 0.0},)
    losses = tuple({"step": step, "train_loss": 1 / step, "seconds": step * 0.1} for step in (1, 2, 3))

    accuracy, loss = curve_charts([Curve("LoRA", "tuned", "circle", 0, looks, losses, steps=100)])

    assert accuracy.figure["data"][0]["x"] == [0]
    assert loss.figure["data"][0]["x"] == [1, 2, 3]
    assert loss.figure["layout"]["xaxis"]["range"][1] > 100


def test_figures_are_plain_json_without_colours_of_their_own(payload):
    for chart in (quality_chart(payload), break_even_chart(payload)):
        text = json.dumps(drawn(chart).figure, allow_nan=False)
        assert "#" not in text
        assert "rgb" not in text


def test_axes_make_room_on_their_own_side_only():
    layout = axes_layout("Requests", "Cost")

    assert (layout["xaxis"]["automargin"], layout["yaxis"]["automargin"]) == ("height", "width")

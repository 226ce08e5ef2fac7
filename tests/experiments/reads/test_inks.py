"""Each approach of a comparison has a colour and a shape of its own, the same wherever it stands; every kind of sight tells them apart."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.catalogue.kinds import NUM_INKS, SHAPES, ink_of, mark_of
from experiments.models import ComparisonTable
from experiments.reads.charts import MARKERS, break_even_chart, quality_chart, spent_chart
from experiments.reads.inks import line_ink, line_mark, line_shape, placed
from experiments.reads.live import curves_of
from experiments.reads.table_view import table_view
from tests.comparison_data import make_finished_experiment, make_price_book

STATIC = Path(__file__).parents[3] / "static"
TOKENS = (STATIC / "tokens.css").read_text()
LIGHT, _, DARK = TOKENS.partition("prefers-color-scheme: dark")
# Linear RGB as it is seen without one kind of cone, all of severity 1. Source: Machado, Oliveira, Fernandes 2009, table of matrices.
SIGHTS = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = np.array([0.95047, 1, 1.08883])
APART = 20.0  # CIELAB 1976; two colours side by side are told apart from about 2.3 on, small marks far from each other need more


def token(theme, name):
    """A colour of a theme in linear RGB."""
    found = re.search(rf"--{name}: #(\w{{6}});", theme)
    assert found, name
    channels = np.array([int(found[1][at : at + 2], 16) for at in (0, 2, 4)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(linear):
    x, y, z = np.cbrt(np.maximum(XYZ @ np.clip(linear, 0, 1) / WHITE, 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    bright, dim = sorted((float(XYZ[1] @ each) for each in (one, other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_no_two_colours_look_alike_to_any_kind_of_sight(theme, sight):
    seen = [lab(np.array(SIGHTS[sight]) @ token(theme, ink_of(place))) for place in range(NUM_INKS)]

    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > APART


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_stands_out_from_what_it_is_drawn_on(theme):
    inks = [token(theme, ink_of(place)) for place in range(NUM_INKS)]

    assert min(contrast(ink, token(theme, ground)) for ink in inks for ground in ("bg", "surface", "sunken")) >= 3


@pytest.mark.django_db
def test_an_approach_keeps_its_colour_and_its_shape_in_table_curves_and_figures(workspace):
    experiment = make_finished_experiment(workspace, price_book=make_price_book(workspace))
    payload = ComparisonTable.objects.get(experiment=experiment).payload
    marks = {row["name"]: row["mark"] for row in table_view(payload).rows}
    charts = [chart for chart in (quality_chart(payload), break_even_chart(payload), spent_chart(payload)) if chart]
    names = {path: shape for shape, path in MARKERS.items()}
    drawn = [(key.name.split(", seed")[0], f"ink-{key.hue}", names.get(key.marker)) for chart in charts for key in chart.keys]
    drawn += [(curve.name, f"ink-{curve.hue}", curve.shape) for curve in curves_of(experiment)]
    traced = {trace["name"]: f"shape-{trace['marker']['symbol']}" for trace in charts[0].figure["data"] if "marker" in trace}

    assert len(set(marks.values())) == len(payload["rows"]) == NUM_INKS
    assert len(charts) == 3
    assert {name for name, _, _ in drawn} == set(marks)
    assert all(ink in marks[name].split() for name, ink, _ in drawn)
    assert all(f"shape-{shape}" in marks[name].split() for name, _, shape in drawn if shape), "the break-even chart has lines alone"
    assert all(shape in marks[name].split() for name, shape in traced.items())


def test_every_shape_is_drawn_in_charts_and_in_tables():
    kit = (STATIC / "components.css").read_text()

    assert list(MARKERS) == list(SHAPES)
    assert all(f".shape-{shape}::before {{ clip-path: " in kit for shape in SHAPES)


def test_forty_approaches_share_no_mark():
    assert len({mark_of(place) for place in range(40)}) == 40


def test_a_record_without_places_gets_them_by_the_order_of_its_rows():
    rows = [{"name": name, "family": "tuned", "method": "lora"} for name in ("LoRA", "Soft prompt")]
    older = {"rows": rows, "spending": [rows[1], {"name": "Gone", "family": "tuned", "method": "lora"}]}

    found = placed(older)

    assert [line_ink(row) for row in found["rows"]] == ["approach-1", "approach-2"]
    assert [line_ink(line) for line in found["spending"]] == ["approach-2", "tuned"]
    assert [line_mark(line) for line in found["spending"]] == ["ink-approach-2 shape-square", "family-tuned"]
    assert [line_shape(line) for line in found["spending"]] == ["square", "circle"]


def test_another_lap_begins_after_the_last_colour():
    assert [ink_of(place) for place in (0, NUM_INKS - 1, NUM_INKS)] == ["approach-1", f"approach-{NUM_INKS}", "approach-1"]

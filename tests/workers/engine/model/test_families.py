"""The golden tests: every family with every method on a tiny random model, and the checked-in matrix that they prove."""

import json

import pytest

from tests.workers.engine.families import FAMILIES
from tests.workers.engine.golden import BEGIN, COLUMNS, END, MATRIX, README, VARIANTS, cell_of, readme_table

KNOWN = json.loads(MATRIX.read_text(encoding="utf-8"))
CELLS = [(family, method) for family in FAMILIES for method in COLUMNS]
# CI takes one cell a family; the fast suite those of each kind of model, whose tuned methods test_tuning and test_training try as well.
QUICK = [(family, "hard_prompt") for family in FAMILIES]
OF_EACH_KIND = ("llama", "gpt2", "bert", "t5", "mamba", "mixtral", "encoder")


def _in_turn() -> list[tuple[str, str]]:
    """A cell of each other method, each on another family that runs it: every second one, so that all kinds have a turn."""
    running = {method: [family for family in FAMILIES if KNOWN[family]["cells"][method]["path"] != "refused"] for method in COLUMNS}
    return [(running[method][2 * place % len(running[method])], method) for place, method in enumerate(COLUMNS) if method != "hard_prompt"]


IN_TURN = _in_turn()


@pytest.mark.parametrize(
    ("family", "method"),
    [pytest.param(*cell, marks=() if cell[0] in OF_EACH_KIND else pytest.mark.slow) for cell in QUICK],
)
def test_a_cell_of_each_family_does_what_the_matrix_says(tmp_path, family, method):
    assert cell_of(family, method, tmp_path) == KNOWN[family]["cells"][method]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "method"), IN_TURN)
def test_a_cell_of_each_method_does_what_the_matrix_says(tmp_path, family, method):
    assert cell_of(family, method, tmp_path) == KNOWN[family]["cells"][method]


@pytest.mark.grid
@pytest.mark.parametrize(("family", "method"), [cell for cell in CELLS if cell not in QUICK + IN_TURN])
def test_every_other_cell_does_what_the_matrix_says(tmp_path, family, method):
    assert cell_of(family, method, tmp_path) == KNOWN[family]["cells"][method]


@pytest.mark.parametrize(
    "family",
    [pytest.param(family, marks=pytest.mark.slow if family in ("gpt2", "qwen3_next") else pytest.mark.grid) for family in FAMILIES],
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_does_what_its_method_does_or_what_its_own_cell_says(tmp_path, family, variant):
    method, options = VARIANTS[variant]
    row = KNOWN[family]
    assert cell_of(family, method, tmp_path, **options) == row["variants"].get(variant, row["cells"][method])


def test_the_readme_has_the_matrix_in_short():
    assert README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip() == readme_table(KNOWN)


def test_the_matrix_has_a_cell_for_every_family_and_method():
    assert {(family, method) for family, row in KNOWN.items() for method in row["cells"]} == set(CELLS)
    assert {family: row["title"] for family, row in KNOWN.items()} == {family: row.title for family, row in FAMILIES.items()}

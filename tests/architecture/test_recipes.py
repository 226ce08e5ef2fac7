"""The catalogue of approaches on the pages and the engine's table of methods say the same."""

from dataclasses import asdict
from typing import Any, cast

import pytest

from experiments.catalogue.dials import TEACHING
from experiments.catalogue.recipes import CATALOGUE, recipe_options, split_teaching
from experiments.planning.notes import FEWEST_INNER_ROWS
from experiments.planning.starts import methods_to_start_from
from workers.engine.contract.recipes import METHODS, may_start_from, rate_grid, resolve_options
from workers.engine.contract.teaching_rules import LEARNS_ON, MOST_ROWS, MOST_TEMPERATURE, TARGETS, Teaching
from workers.engine.training import learning

FAMILIES = {"engineered": "prompt", "tuned": "tuned", "hybrid": "tuned", "baseline": "baseline"}


@pytest.mark.parametrize("key", CATALOGUE)
def test_every_line_of_the_catalogue_is_a_method_of_the_engine(key):
    kind = CATALOGUE[key]

    assert FAMILIES[kind.family] == METHODS[kind.method].family
    assert kind.needs_train == METHODS[kind.method].needs_train


@pytest.mark.parametrize("key", CATALOGUE)
def test_options_have_the_engines_names_ranges_and_choices(key):
    kind = CATALOGUE[key]
    engine = METHODS[kind.method].options

    own = [option for option in kind.options if not option.teaches]
    assert {option.name for option in own} == set(engine)
    for option in own:
        theirs = engine[option.name]
        assert (option.low, option.high) == (theirs.low, theirs.high), option.name
        words = {word for word, _ in option.choices}
        assert words <= set(theirs.choices) if option.fixed else words == set(theirs.choices), option.name
        if not option.fixed:
            assert option.default == theirs.default, option.name


@pytest.mark.parametrize("key", CATALOGUE)
def test_the_engine_takes_the_written_out_options_as_they_are(key):
    options, teaching = split_teaching(recipe_options(key, {}))

    assert resolve_options(CATALOGUE[key].method, options) == options
    assert not teaching or asdict(Teaching(**cast(dict[str, Any], teaching))) == teaching


@pytest.mark.parametrize(("weights", "family"), [(20_000_000, "llama"), (500_000_000, "llama"), (80_000_000, "t5"), (800_000_000, "mt5")])
@pytest.mark.parametrize("key", [key for key, kind in CATALOGUE.items() if kind.is_tuned])
def test_a_rate_that_nobody_sets_is_the_middle_of_the_engines_grid(key, weights, family):
    grid = rate_grid(CATALOGUE[key].method, weights, family)

    assert recipe_options(key, {}, {"parameters": weights, "family": family}) == recipe_options(key, {}) | grid[len(grid) // 2]


def test_the_dials_of_teaching_are_the_engines():
    engine = asdict(Teaching())

    assert [option.name for option in TEACHING] == list(engine)
    targets, temperature, rows, learns_on = TEACHING
    assert tuple(word for word, _ in targets.choices) == TARGETS
    assert (temperature.default, temperature.high) == (engine["temperature"], MOST_TEMPERATURE)
    assert (rows.default, rows.high) == (engine["rows"], MOST_ROWS)
    assert tuple(word for word, _ in learns_on.choices) == LEARNS_ON
    assert learns_on.default == engine["learns_on"]


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.family == "tuned"])
def test_the_pages_and_the_engine_let_a_method_start_from_the_same_others(method):
    assert methods_to_start_from(method) == may_start_from(method)


def test_every_tuned_method_of_the_engine_is_choosable():
    tuned = {name for name, method in METHODS.items() if method.family == "tuned"}

    assert tuned <= {kind.method for kind in CATALOGUE.values()}


def test_pages_and_engine_find_as_few_rows_set_aside_too_few():
    assert FEWEST_INNER_ROWS == learning.FEWEST_INNER_ROWS

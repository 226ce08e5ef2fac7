"""The pages and the engine count the rounds of a sweep alike."""

import pytest

from experiments.catalogue.configurations import MOST, stages_of
from workers.engine.contract.recipes import CONFIGURATIONS
from workers.engine.figures.halving import plan_stages


@pytest.mark.parametrize("configurations", [1, 2, 3, 4, 9, 10, 27, 64])
@pytest.mark.parametrize(("steps", "every"), [(250, 50), (250, 7), (10, 50), (1, 1), (1000, 1)])
def test_rounds_are_the_same_on_both_sides(configurations, steps, every):
    engine = [(stage.configurations, stage.steps) for stage in plan_stages(configurations, steps, every)]

    assert stages_of(configurations, steps, every) == engine


def test_both_sides_allow_as_many_configurations():
    assert CONFIGURATIONS.high == MOST

"""Which prompt learning starts from when nobody says so, and the sentence that says why."""

import pytest

from experiments.models import Score
from experiments.reads.start_prompts import start_prompt
from tests import factories

pytestmark = pytest.mark.django_db
SHOWN = [{"example": None, "fields": {"text": "x"}, "label": "refund"}]


@pytest.fixture
def version(workspace):
    return factories.make_dataset_version(workspace)


@pytest.fixture
def prompts(workspace):
    """Two prompts without examples, the better one saved first, and one with examples."""
    names = {"Careful": [], "Short": [], "Shown": SHOWN}
    return [factories.make_template_version(workspace, name=name, demonstrations=shown) for name, shown in names.items()]


@pytest.fixture
def scored(workspace, version):
    """Let a prompt have been compared before."""

    def make(template, backbone, rate, *, split="validation", **recipe):
        experiment = factories.make_experiment(workspace, dataset_version=version)
        approach = factories.make_approach(experiment, template_version=template, backbone=backbone, recipe=recipe)
        evaluation = factories.make_evaluation(factories.make_run(approach), split=split)
        Score.objects.create(evaluation=evaluation, metric="accuracy", value=rate, n=100, signature="")

    return make


def test_the_prompt_that_did_best_before_on_the_same_rows_is_the_start_and_the_sentence_says_so(version, prompts, scored):
    careful, short, shown = prompts
    backbone = factories.make_backbone()
    for template, rate in ((careful, 0.4), (careful, 0.61), (short, 0.5), (shown, 0.9)):
        scored(template, backbone, rate)

    start = start_prompt(version, backbone, [short, shown, careful])

    assert start is not None
    assert start.sentence == (
        "Learning starts from “Careful v1”: it was best in earlier comparisons on this data with this model "
        "(61.0% of validation rows right)."
    )


def test_without_earlier_figures_the_prompt_saved_last_is_the_start(version, prompts, scored):
    careful, short, _ = prompts
    backbone = factories.make_backbone()
    scored(careful, factories.make_backbone(name="Another model"), 0.9)
    scored(careful, backbone, 0.9, split="test")
    scored(careful, backbone, 0.9, configurations=8)
    scored(careful, backbone, 0.9, score="prior_corrected")

    start = start_prompt(version, backbone, [careful, short])

    assert start is not None
    assert start.sentence == (
        "Learning starts from “Short v1”: none of the chosen prompts has been compared on this data with this model yet, "
        "and it was saved last."
    )


def test_where_there_is_no_choice_nothing_is_explained(version, prompts):
    careful, _, shown = prompts
    backbone = factories.make_backbone()

    alone, plainer = start_prompt(version, backbone, [shown]), start_prompt(version, backbone, [shown, careful])

    assert alone is not None
    assert (alone.template, alone.sentence) == (shown, "")
    assert plainer is not None
    assert (plainer.template, plainer.reason) == (careful, "the other chosen prompts show examples or have a first step.")
    assert start_prompt(version, backbone, []) is None

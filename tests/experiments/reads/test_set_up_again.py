"""What a person changes and starts anew is the comparison that was there, setting by setting."""

import pytest

from experiments.forms.comparisons import ComparisonForm
from experiments.models import Approach, Experiment
from experiments.reads.set_up_again import form_values
from experiments.services.launches import experiment_start
from tests import factories
from tests.comparison_data import make_price_book

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(workspace):
    """The answers of a form that asks for much."""
    version = factories.make_dataset_version(workspace)
    bare, careful = (factories.make_template_version(workspace, name=name) for name in ("Bare", "Careful"))
    shown = {"example": None, "fields": {"text": "where is it"}, "label": "delivery"}
    showing = factories.make_template_version(workspace, name="With examples", demonstrations=[shown])
    return {
        "name": "Which prompt?",
        "dataset_version": str(version.pk),
        "templates": [str(each.pk) for each in (bare, careful, showing)],
        "backbone": str(factories.make_backbone().pk),
        "recipes": ["zero_shot", "few_shot", "prior_corrected", "soft_prompt", "distilled", "dora"],
        "tuned_template": str(careful.pk),
        "seeds": "3, 4",
        "price_book": str(make_price_book(workspace).pk),
        "monthly_requests": "5000",
        "margin": "2.5",
        "too_long": "truncate",
        "truncate_column": "text",
        "key": "form-1",
        "soft_prompt-max_steps": "7",
        "soft_prompt-schedule": "constant",
        "dora-rank": "4",
        "distilled-teacher": f"prompt:{careful.pk}",
        "distilled-targets": "labels",
    }


def start(workspace, answers) -> Experiment:
    form = ComparisonForm(answers, workspace=workspace)
    assert form.is_valid(), form.errors
    return experiment_start(workspace=workspace, by=None, plan=form.plan(), key=answers["key"])


def settings_of(experiment: Experiment) -> tuple[object, ...]:
    approaches = Approach.objects.filter(experiment=experiment)
    fields = ("dataset_version_id", "seeds", "price_book_id", "monthly_requests", "margin", "too_long", "truncate_column")
    return (
        [getattr(experiment, field) for field in fields],
        list(approaches.values_list("name", "method", "recipe", "backbone", "template_version", "teacher_version", "teaching")),
    )


def test_the_form_as_it_opens_again_asks_for_the_same_comparison(workspace, asked):
    first = start(workspace, asked)

    opened = ComparisonForm(None, workspace=workspace, initial=form_values(first))
    answers = {name: opened[name].value() for name in opened.fields if opened[name].value() is not None}
    again = start(workspace, {**answers, "seeds": "3, 4", "key": "form-2"})

    assert settings_of(again) == settings_of(first)
    assert again.name == "Which prompt?, again"


def test_prices_that_were_written_down_since_are_chosen_where_there_were_none(workspace, asked):
    first = start(workspace, {**asked, "price_book": ""})

    opened = ComparisonForm(None, workspace=workspace, initial=form_values(first))

    assert str(opened["price_book"].value()) == asked["price_book"]


def test_a_rate_that_went_by_the_model_is_left_empty_again(workspace, asked):
    larger = factories.make_backbone(name="Larger", facts={"parameters": 500_000_000})
    experiment = start(workspace, {**asked, "backbone": str(larger.pk)})

    opened = form_values(experiment)

    assert [each.recipe["learning_rate"] for each in experiment.approaches.filter(method="lora")] == [2e-4]
    assert (opened["dora-rank"], "dora-learning_rate" in opened) == (4, False)


def test_rules_of_free_answers_come_back_as_they_were_typed(workspace):
    rules = {"max_new_tokens": 8, "stop": ["\n", "END"], "pattern": "x+"}
    experiment = factories.make_experiment(workspace, generation=rules)

    form = ComparisonForm(None, workspace=workspace, initial=form_values(experiment))

    answers = {name: form.answers[name].value() for name in ("max_new_tokens", "one_line", "stop", "pattern")}
    assert answers == {"max_new_tokens": 8, "one_line": True, "stop": "END", "pattern": "x+"}


def test_a_long_name_stays_within_its_limit(workspace):
    assert len(form_values(factories.make_experiment(workspace, name="n" * 120))["name"]) == 120

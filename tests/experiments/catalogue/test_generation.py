import pytest

from experiments.catalogue.generation import GenerationPlan, schema_read
from experiments.errors import UserError
from experiments.forms.generation import GenerationForm
from experiments.planning.checks import plan_problems
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from tests import factories


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"max_new_tokens": 0}, "The longest answer in tokens is 0; it must be from 1 to 4,096."),
        ({"temperature": 9.0}, "The temperature is 9; it must be from 0 to 5."),
        ({"top_p": 0.0}, "Top-p is 0; it must be above 0 and at most 1."),
        (
            {"min_characters": 9, "max_characters": 3},
            "The fewest characters of an answer are more than the most. Swap them, or leave one at 0.",
        ),
        ({"stop": ("",)}, "Give at most 16 stop texts of 1 to 100 characters each."),
        ({"json_schema": {"patternProperties": {}}}, "patternProperties"),
        ({"json_schema": {"type": "thing"}}, "The JSON schema is not valid"),
        ({"json_schema": {"properties": {"x": {"$ref": "#/$defs/y"}}}}, "refers to “#/$defs/y”, which it does not hold"),
        ({"pattern": "("}, "no regular expression"),
    ],
)
def test_each_rule_out_of_range_is_one_sentence(asked, sentence):
    (problem,) = GenerationPlan(**asked).problems()

    assert sentence in problem


def test_rules_come_back_from_storage_as_they_were():
    rules = GenerationPlan(max_new_tokens=9, stop=("\n", "END"), json_schema={"type": "object"}, pattern="x+")

    assert GenerationPlan.from_json(rules.to_json()) == rules
    assert GenerationPlan.from_json({}) == GenerationPlan()
    assert rules.described() == "greedy, at most 9 tokens, ending at the end of the line or “END”"
    assert rules.asked_form() == "JSON by the schema, matching “x+”"


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_a_schema_that_is_no_json_object_is_refused(text):
    with pytest.raises(UserError, match="JSON schema"):
        schema_read(text)


def test_an_empty_form_keeps_the_defaults():
    form = GenerationForm({"answers-one_line": "on"}, prefix="answers")

    assert form.is_valid()
    assert form.plan() == GenerationPlan()


def test_the_form_names_the_field_that_is_wrong():
    form = GenerationForm({"answers-temperature": "hot", "answers-json_schema": "{"}, prefix="answers")

    assert not form.is_valid()
    assert [sentence.split(":")[0] for sentence in form.sentences()] == ["Temperature", "JSON schema"]


@pytest.mark.django_db
def test_a_reference_that_a_stop_text_would_cut_is_named_before_the_launch(workspace):
    rows = [("train", "a", "One"), ("validation", "b", "two END")]
    version = factories.make_dataset_version(workspace, rows, task="extraction", labels=[])
    approach = ApproachPlan("zero_shot", factories.make_backbone(), factories.make_template_version(workspace))

    def problems(*stop):
        return plan_problems(ExperimentPlan("x", version, (approach,), generation=GenerationPlan(stop=stop)))

    assert problems("\n", "end") == []
    assert problems("END") == ["Row 2 has “END” in its reference, but answers end there, so none could be right. Remove that stop text."]

"""Row by row: filters, search and paging; test rows only once the test set is open."""

import pytest
from django.urls import reverse

from experiments.models import Experiment, Prediction
from experiments.reads import example_grid
from tests.comparison_data import make_finished_experiment

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, num_validation=120))


@pytest.fixture
def finished(made):
    return Experiment.objects.get(pk=made.pk)


@pytest.fixture
def look(client_for, alice, finished):
    def get(**query):
        answer = client_for(alice).get(reverse("comparison-examples", args=["acme", finished.pk], query=query))
        assert answer.status_code == 200
        return answer

    return get


def positions(answer):
    grid = answer.context["grid"]
    return [line.example.position for line in grid.lines]


def approach_named(finished, name):
    return next(row for row in finished.tables.get().payload["rows"] if row["name"] == name)


def test_pages_follow_each_other_and_lead_back(look):
    first = look()
    second = look(after=str(first.context["grid"].next_after))
    back = look(before=str(second.context["grid"].previous_before))

    assert positions(first) == list(range(61, 111))
    assert positions(second)[0] == 111
    assert positions(back) == positions(first)
    assert first.context["grid"].previous_before is None


def test_many_approaches_make_shorter_pages(look, monkeypatch):
    monkeypatch.setattr(example_grid, "MOST_CELLS", 200)
    first = look()
    second = look(after=str(first.context["grid"].next_after))

    assert len(positions(first)) == 200 // len(first.context["grid"].columns)
    assert positions(second)[0] == positions(first)[-1] + 1


def test_wrong_in_one_approach(look, finished):
    row = approach_named(finished, "LoRA")
    wrong = Prediction.objects.filter(evaluation=row["evaluation"], correct=False).values_list("example__position", flat=True)

    assert positions(look(show="wrong", approach=row["approach"])) == sorted(wrong)


def test_rows_without_an_answer(look):
    answer = look(show="errors")

    assert positions(answer) == [68]
    assert "The row is longer than the model can hold." in answer.content.decode()


def test_rows_that_differ_from_the_baseline(look, finished):
    payload = finished.tables.get().payload
    row = approach_named(finished, "LoRA")
    base = next(each for each in payload["rows"] if each["approach"] == payload["baseline"])
    answers = {
        evaluation: dict(Prediction.objects.filter(evaluation=evaluation).values_list("example__position", "predicted"))
        for evaluation in (row["evaluation"], base["evaluation"])
    }
    expected = [at for at, answer in sorted(answers[row["evaluation"]].items()) if answer != answers[base["evaluation"]][at]]

    assert positions(look(show="differs", approach=row["approach"])) == expected[:50]


def test_search_finds_text_and_takes_nothing_else_from_it(look):
    assert positions(look(q="message 17 about")) == [78]
    assert positions(look(q="%")) == []
    assert positions(look(q='"]) OR 1=1 --')) == []


@pytest.mark.parametrize(
    "query", [{"after": "x"}, {"after": "9" * 30}, {"before": "-1"}, {"show": "nonsense"}, {"approach": "x", "show": "wrong"}, {"q": "\0"}]
)
def test_nonsense_in_the_address_shows_rows(look, query):
    look(**query)


def test_test_rows_stay_hidden_until_the_set_is_open(look):
    answer = look(split="test")

    assert answer.context["split"] == "validation"


def test_data_is_never_html(look):
    assert "need &lt;help&gt; now" in look().content.decode()

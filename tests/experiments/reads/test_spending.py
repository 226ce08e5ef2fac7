"""What device time bought: one line a run, every configuration's seconds counted."""

import pytest

from experiments.models import Run, Trial
from experiments.reads.charts import spent_chart
from experiments.reads.reports import build_table
from experiments.reads.spending import best_so_far, spending_lines, tried_chart
from tests import factories
from tests.comparison_data import make_finished_experiment, make_price_book

pytestmark = pytest.mark.django_db


def look(number, rung, correct, seconds, rows=10):
    return {"number": number, "rung": rung, "rows": rows, "correct": correct, "seconds": seconds}


def test_seconds_of_all_configurations_are_spent_for_the_best_score():
    looks = [look(0, 0, 5, 1.0), look(1, 0, 4, 1.0), look(0, 1, 6, 3.0), look(1, 1, 9, 2.0)]

    assert best_so_far(looks) == [(1.0, 0.5), (4.0, 0.6), (5.0, 0.9)]


def test_seconds_that_brought_nothing_are_counted_to_the_end():
    assert best_so_far([look(0, 0, 5, 1.0), look(1, 0, 4, 2.0)]) == [(1.0, 0.5), (3.0, 0.5)]


def test_a_score_on_more_rows_replaces_one_on_fewer():
    assert best_so_far([look(0, 0, 10, 1.0, rows=10), look(0, 1, 24, 3.0, rows=30)]) == [(1.0, 1.0), (3.0, 0.8)]


def test_every_approach_stands_in_the_chart_with_what_it_spent(workspace):
    payload = make_finished_experiment(workspace).tables.get().payload

    lines = payload["spending"]
    chart = spent_chart(payload)

    assert {line["name"] for line in lines} >= {"LoRA", "Zero-shot: Short v1"}
    assert all(seconds == 0 for line in lines if line["name"].startswith("Zero-shot") for seconds, _ in line["points"])
    [lora] = [line for line in lines if line["name"] == "LoRA" and line["seed"] == 0]
    assert lora["points"][-1][0] == pytest.approx(96 + 9)
    assert chart is not None
    assert len(chart.keys) == len(lines)
    assert [trace["cliponaxis"] for trace in chart.figure["data"]] == [False] * len(lines), "marks on the axis are drawn whole"


def test_looks_at_train_rows_set_aside_are_no_validation_scores(workspace):
    experiment = make_finished_experiment(workspace)
    for run in lora_runs(experiment):
        run.result["training"]["curve"] = [{"step": 9, "seconds": 5.0, "validation_accuracy": None, "inner_accuracy": 0.99}]
        run.save()

    lines = [line for line in spending_lines(experiment) if line["name"] == "LoRA"]

    assert [len(line["points"]) for line in lines] == [1, 1]
    assert all(score != 0.99 for line in lines for _, score in line["points"])


def test_a_comparison_that_took_no_device_time_has_no_chart(workspace):
    assert spent_chart({"spending": spending_lines(factories.make_experiment(workspace))}) is None


@pytest.fixture
def swept(workspace):
    """A finished comparison in which both seeds of LoRA swept three configurations, half an hour each."""
    experiment = make_finished_experiment(workspace, price_book=make_price_book(workspace), configurations=3)
    for run in lora_runs(experiment):
        run.result = {**run.result, "sweep": {"configurations": 3, "winner": 1}}
        run.result["training"] = {**run.result["training"], "sweep_seconds": 1800.0}
        run.save()
        for number in range(3):
            looks = [look(number, place, 10 + place + number, 10.0 * (place + 1), rows=20) for place in range(2)]
            attempt = run.job.attempts.get()
            Trial.objects.create(run=run, attempt=attempt, number=number, name=f"rate {number}", looks=looks, rung=1, rows=20)
    return experiment


def lora_runs(experiment):
    return Run.objects.filter(approach__experiment=experiment, approach__name="LoRA")


def test_the_table_says_among_how_many_each_approach_was_chosen(swept):
    rows = {(row["name"], row["seed"]): row for row in build_table(swept, "validation")["rows"]}

    assert {name: row["configurations"] for (name, _), row in rows.items() if name == "LoRA"} == {"LoRA": 3}
    assert {row["configurations"] for (name, _), row in rows.items() if name != "LoRA"} == {1}
    assert "a plain baseline has no settings to try" in {row["one_configuration_because"] for row in rows.values()}


def test_seconds_of_the_sweep_are_part_of_the_one_off_cost(workspace, swept):
    def one_off(experiment):
        table = build_table(experiment, "validation")
        [approach] = [row["approach"] for row in table["rows"] if row["name"] == "LoRA"]
        return next(float(line["one_off"]["value"]) for line in table["money"]["rows"] if line["approach"] == approach)

    with_sweep = one_off(swept)
    for run in lora_runs(swept):
        run.result["training"]["sweep_seconds"] = 0.0
        run.save()

    hour = float(swept.price_book.device_hour)
    assert with_sweep - one_off(swept) == pytest.approx(hour)


def test_each_configuration_of_a_run_is_a_line(swept):
    chart = tried_chart(Trial.objects.filter(run__in=lora_runs(swept).filter(seed=0)))

    assert chart is not None
    assert [key.name for key in chart.keys] == ["rate 0", "rate 1", "rate 2"]

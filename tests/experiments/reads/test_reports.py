"""The table of a split is made of the winning attempts' answers only, counts every row, and names what is missing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import Artifact, Evaluation, Experiment, Job, JobState, Prediction, Run, TestOpening
from experiments.reads.reports import build_table
from tests import factories
from tests.comparison_data import SHAPES, make_finished_experiment, make_price_book

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, num_test=30))


@pytest.fixture
def experiment(made):
    return Experiment.objects.get(pk=made.pk)


def row_named(table, name):
    return next(row for row in table["rows"] if row["name"] == name)


def test_accuracy_counts_every_row_and_shows_errors_beside_it(experiment):
    table = build_table(experiment, "validation")

    for row in table["rows"]:
        evaluation = Evaluation.objects.get(pk=row["evaluation"])
        assert row["n"] == 60
        assert row["correct"] == evaluation.predictions.filter(correct=True).count()
        assert row["accuracy"] == row["correct"] / 60
        assert (row["errors"], row["skipped"], row["coverage"]) == (1, 0, 59 / 60)
        assert row["low"] < row["accuracy"] < row["high"]


def test_only_the_winning_attempt_is_read(experiment):
    row = row_named(build_table(experiment, "validation"), "LoRA")
    evaluation = Evaluation.objects.get(pk=row["evaluation"])
    lost = factories.make_attempt(evaluation.job, fence=99)
    Prediction.objects.bulk_create(
        Prediction(evaluation=evaluation, attempt=lost, example_id=each.example_id, predicted="x", correct=False)
        for each in evaluation.predictions.all()
    )

    assert row_named(build_table(experiment, "validation"), "LoRA")["correct"] == row["correct"]


def test_validation_chooses_the_seed_that_the_test_table_shows(experiment):
    seeds = Run.objects.filter(approach__name="LoRA").order_by("seed")
    for run, accuracy in zip(seeds, (0.2, 0.9), strict=True):
        evaluation = run.evaluations.get(split="validation")
        evaluation.summary["accuracy"] = accuracy
        evaluation.save()

    row = row_named(build_table(experiment, "test"), "LoRA")

    assert (row["seed"], row["chosen_because"]) == (1, "best on validation")
    assert row["spread"]["num_seeds"] == 2
    assert len(row["seeds"]) == 2


def test_baseline_is_the_written_prompt_that_is_best_on_validation_unless_chosen(experiment):
    table = build_table(experiment, "test")
    best = max(Evaluation.objects.filter(split="validation", run__approach__family="engineered"), key=lambda each: each.summary["accuracy"])
    assert table["baseline"] == str(best.run.approach_id)
    assert next(row for row in table["rows"] if row["approach"] == table["baseline"])["delta"] is None

    experiment.baseline = experiment.approaches.get(method="majority")
    assert build_table(experiment, "test")["baseline"] == str(experiment.baseline.pk)


def test_tokens_are_three_counts_and_unknown_where_no_token_is_read(experiment):
    table = build_table(experiment, "test")

    hybrid, majority = row_named(table, "Hybrid")["tokens"], row_named(table, "Most frequent label")["tokens"]
    assert hybrid == {"fixed": 164, "row": 14, "virtual": 20, "completion": 2, "context": 200, "computed": 19, "billed": None}
    assert majority["context"] is None
    assert majority["computed"] is None


def test_prompt_written_after_the_test_was_seen_is_marked(experiment):
    TestOpening.objects.update(opened_at=timezone.now() - timedelta(days=1))

    table = build_table(experiment, "test")

    assert {row["name"] for row in table["rows"] if row["written_after_test"]} == {
        row["name"] for row in table["rows"] if row["family"] != "baseline"
    }


def test_prompt_written_before_is_not_marked(experiment):
    assert not any(row["written_after_test"] for row in build_table(experiment, "test")["rows"])


def test_what_failed_is_named_with_its_reason(experiment):
    run = Run.objects.get(approach__method="linear_probe")
    run.evaluations.update(attempt=None, completed_at=None)
    Job.objects.filter(pk=run.job_id).update(state=JobState.FAILED, error="The model ran out of memory.")

    table = build_table(experiment, "validation")

    assert [line["name"] for line in table["missing"]] == ["Linear probe"]
    assert table["missing"][0]["reason"] == "The model ran out of memory."
    assert len(table["rows"]) == len(SHAPES) - 1


def test_nothing_answered_is_a_sentence(workspace):
    experiment = factories.make_experiment(workspace)

    with pytest.raises(UserError, match="No run has answered the validation rows"):
        build_table(experiment, "validation")


def test_costs_come_from_the_price_book_and_name_what_is_missing(workspace):
    priced = build_table(make_finished_experiment(workspace, num_validation=12, price_book=make_price_book(workspace)), "validation")
    halfway = build_table(
        make_finished_experiment(workspace, num_validation=12, price_book=make_price_book(workspace, device_hour=None)), "validation"
    )
    bare = build_table(make_finished_experiment(workspace, num_validation=12), "validation")

    # 1,000 rows at 186 rows a second, an hour of the machine at 1.20
    assert float(row_named(priced, "LoRA")["cost"]["per_thousand"]) == pytest.approx(1_000 / 186 / 3_600 * 1.20, abs=1e-6)
    assert row_named(halfway, "LoRA")["cost"]["per_thousand"] is None
    assert "price of a device-hour" in row_named(halfway, "LoRA")["cost"]["reason"]
    assert row_named(bare, "LoRA")["cost"] == {
        **{"per_thousand": None, "low": None, "high": None, "passes": 2},
        **{"currency": "USD", "reason": "no price book was chosen"},
    }


def test_costs_range_over_every_measured_pass_of_an_approach_on_one_device(workspace):
    experiment = make_finished_experiment(workspace, num_validation=12, num_test=12, price_book=make_price_book(workspace))
    chosen = row_named(build_table(experiment, "test"), "LoRA")["run"]
    lora = Evaluation.objects.filter(run__approach__experiment=experiment, run__approach__name="LoRA")
    measured = {(True, "validation"): (100.0, "cpu"), (True, "test"): (125.0, "cpu"), (False, "validation"): (150.0, "cpu")}
    for evaluation in lora:
        speed, device = measured.get((str(evaluation.run_id) == chosen, evaluation.split), (9.0, "cuda"))
        evaluation.summary |= {"rows_per_second": speed, "device": device}
        evaluation.save()

    found = {split: row_named(build_table(experiment, split), "LoRA") for split in ("validation", "test")}

    assert found["validation"]["speeds"] == found["test"]["speeds"] == [100.0, 125.0, 150.0]
    assert found["test"]["cost"]["passes"] == 3
    costs = [float(found["test"]["cost"][end]) for end in ("low", "high")]
    assert costs == pytest.approx([1_000 / speed / 3_600 * 1.20 for speed in (150, 100)], abs=1e-6)


def test_every_seed_s_training_is_part_of_the_one_off_cost(workspace):
    table = build_table(make_finished_experiment(workspace, num_validation=12, price_book=make_price_book(workspace)), "validation")
    line = next(line for line in table["money"]["rows"] if line["approach"] == row_named(table, "LoRA")["approach"])

    assert float(line["one_off"]["value"]) == pytest.approx(2 * (96 + 9) / 3_600 * 1.20)


def test_the_tuned_prompt_that_training_started_from_is_part_of_the_one_off_cost_once(workspace):
    source = make_finished_experiment(workspace, num_validation=12, seeds=(0,))
    experiment = make_finished_experiment(workspace, num_validation=12, price_book=make_price_book(workspace))
    started = experiment.approaches.get(name="LoRA")
    started.start_artifact = Artifact.objects.get(run__approach__experiment=source, run__approach__name="Soft prompt")
    started.save()

    table = build_table(experiment, "validation")

    line = next(line for line in table["money"]["rows"] if line["approach"] == str(started.pk))
    assert float(line["one_off"]["value"]) == pytest.approx((2 * (96 + 9) + 48 + 9) / 3_600 * 1.20)


def test_extraction_has_no_confusion_and_no_macro_f1(experiment):
    version = experiment.dataset_version
    version.task, version.labels = "extraction", []
    version.save()
    Prediction.objects.update(text="an answer")
    experiment.refresh_from_db()

    row = build_table(experiment, "validation")["rows"][0]

    assert row["macro_f1"] is None
    assert row["confusion"] == []


def test_a_tie_is_broken_by_the_cost_of_a_request_and_the_others_are_named_as_equals(workspace):
    experiment = make_finished_experiment(workspace, num_validation=12, price_book=make_price_book(workspace))
    Prediction.objects.filter(evaluation__run__approach__experiment=experiment).update(correct=True, error="")

    table = build_table(experiment, "validation")

    assert len({row["correct"] for row in table["rows"]}) == 1
    assert table["best"] == row_named(table, "Most frequent label")["approach"], "90,000 rows a second cost least"
    assert len(table["equals"]) == len(SHAPES) - 1

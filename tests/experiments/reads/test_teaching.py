"""What a teacher costs: device time once for all seeds, a hosted teacher's bill, and the training of a tuned one."""

from decimal import Decimal

import pytest

from experiments.economics import TokenUse
from experiments.models import Backbone
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.planning.teachers import Teacher
from experiments.reads.estimates import plan_estimate
from experiments.reads.reports import build_table
from experiments.reads.teaching import teaching_cost
from tests import factories
from tests.comparison_data import make_finished_experiment, make_price_book

pytestmark = pytest.mark.django_db


def make_experiment(workspace, name):
    version = factories.make_dataset_version(workspace, dataset=factories.make_dataset(workspace, name=f"Mail of the {name}"))
    return factories.make_experiment(workspace, name=name, dataset_version=version)


@pytest.fixture
def make_taught(workspace):
    def build(**teacher):
        approach = factories.make_approach(make_experiment(workspace, "Student"), family="hybrid", **teacher)
        record = {"distillation": {"teacher_seconds": 30.0}}
        return approach, [factories.make_run(approach, seed=seed, result=record) for seed in (0, 1)]

    return build


def answers_of(workspace, family, result, summary):
    run = factories.make_run(factories.make_approach(make_experiment(workspace, "Teacher"), family=family), result=result)
    return factories.make_evaluation(run, split="train", summary=summary)


def test_a_prompt_is_asked_once_however_many_seeds_listen(workspace, make_taught):
    cost = teaching_cost(*make_taught(teacher_version=factories.make_template_version(workspace)))

    assert (cost.seconds, cost.hosted) == (30.0, None)


def test_a_tuned_teacher_costs_its_training_and_its_answers(workspace, make_taught):
    trained = {"training": {"train_seconds": 100.0, "evaluation_seconds": 10.0}}
    evaluation = answers_of(workspace, "tuned", trained, {"n": 4, "seconds": 5.0})

    assert teaching_cost(*make_taught(teacher_evaluation=evaluation)).seconds == 115.0


@pytest.mark.parametrize(
    ("billed", "use"), [({"input": 200.0, "output": 3.0}, TokenUse(600.0, 9.0)), ({"input": 200.0, "output": None}, TokenUse(600.0, None))]
)
def test_a_hosted_teacher_costs_the_tokens_of_all_its_answers(workspace, make_taught, billed, use):
    evaluation = answers_of(workspace, "hosted", {}, {"n": 4, "errors": 1, "endpoint": {"billed": billed}})

    assert teaching_cost(*make_taught(teacher_evaluation=evaluation)).hosted == use


@pytest.mark.parametrize(("family", "seconds", "hosted"), [("hosted", 0.0, TokenUse(2000.0, 30.0)), ("tuned", 12.0, None)])
def test_answers_to_both_kinds_of_rows_are_both_paid_for(workspace, make_taught, family, seconds, hosted):
    summary = {"n": 4, "seconds": 5.0, "endpoint": {"billed": {"input": 200.0, "output": 3.0}}}
    chosen = answers_of(workspace, family, {}, summary)
    done = {"attempt": factories.make_attempt(chosen.run.job), "completed_at": chosen.created_at}
    factories.make_evaluation(chosen.run, split="unlabelled", summary=summary | {"n": 6, "seconds": 7.0}, **done)

    cost = teaching_cost(*make_taught(teacher_evaluation=chosen, teaching={"learns_on": "both"}))

    assert (cost.seconds, cost.hosted) == (seconds, hosted)


def test_the_teachers_bill_is_part_of_the_one_off_cost(workspace):
    book = make_price_book(workspace, input_million_tokens=Decimal(1_000), output_million_tokens=Decimal(1_000))
    experiment = make_finished_experiment(workspace, price_book=book)
    taught = experiment.approaches.get(name="Soft prompt")
    before = one_off(experiment, taught)
    taught.teacher_evaluation = answers_of(workspace, "hosted", {}, {"n": 100, "endpoint": {"billed": {"input": 90.0, "output": 10.0}}})
    taught.save()

    assert one_off(experiment, taught) - before == pytest.approx(10.0)


def one_off(experiment, approach) -> float:
    money = build_table(experiment, "validation")["money"]
    return float(next(row for row in money["rows"] if row["approach"] == str(approach.pk))["one_off"]["value"])


def test_asking_a_prompt_that_teaches_is_part_of_the_estimate(workspace):
    experiment = make_finished_experiment(workspace)
    prompt = factories.make_template_version(workspace)
    model = Backbone.objects.get(name="Seeded starter")

    def estimate(teacher, **options):
        plan = ApproachPlan("distilled", model, prompt, {"rows": 20} | options, teacher=teacher)
        return plan_estimate(ExperimentPlan("Which?", experiment.dataset_version, (plan,)))

    asked = estimate(Teacher(version=prompt))
    given = estimate(Teacher(evaluation=answers_of(workspace, "tuned", {}, {"n": 4})))
    assert (asked.num_asked, given.num_asked) == (20 + 60, 0)
    assert asked.seconds > given.seconds

    experiment.dataset_version.split_counts["unlabelled"] = 500
    train = experiment.dataset_version.split_counts["train"]
    on = {learns_on: estimate(Teacher(version=prompt), learns_on=learns_on, rows=0).num_asked for learns_on in ("unlabelled", "both")}
    assert on == {"unlabelled": 500 + 60, "both": train + 500 + 60}
    assert estimate(Teacher(version=prompt), learns_on="both").num_asked == 20 + 60

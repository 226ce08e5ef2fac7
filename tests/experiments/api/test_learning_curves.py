"""The learning curve by API: drawn once, watched like any comparison, read with its sentences."""

from experiments.models import Experiment, Job, Role
from tests.comparison_data import make_finished_experiment
from tests.curve_data import make_drawn_curve


def test_curve_is_drawn_once_and_names_its_comparison(call, workspace):
    finished = make_finished_experiment(workspace, num_validation=6)

    first, again = (call("post", f"experiments/{finished.pk}/learning-curve") for _ in range(2))

    assert (first.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert first.json()["learning_curve_of"] == str(finished.pk)
    assert {approach["train_rows"] for approach in first.json()["approaches"]} == {16}
    assert Experiment.objects.filter(curve_of=finished).count() == 1


def test_curve_is_read_with_its_sentences(call, workspace):
    finished = make_finished_experiment(workspace, num_validation=24)
    assert call("get", f"experiments/{finished.pk}/learning-curve").status_code == 404
    curve = make_drawn_curve(finished)

    answer = call("get", f"experiments/{finished.pk}/learning-curve").json()

    assert answer["experiment"] == str(curve.pk)
    assert answer["results"]["sentences"] == curve.learning_curve["sentences"]


def test_comparison_that_goes_on_is_refused_with_the_reason(call, workspace):
    running = make_finished_experiment(workspace, num_validation=6)
    Experiment.objects.update(finished_at=None)

    answer = call("post", f"experiments/{running.pk}/learning-curve")

    assert answer.status_code == 422
    assert "has not ended yet" in answer.json()["error"]["message"]


def test_reader_s_key_draws_nothing(caller_for, workspace):
    finished = make_finished_experiment(workspace, num_validation=6)

    assert caller_for(workspace, Role.VIEWER)("post", f"experiments/{finished.pk}/learning-curve").status_code == 403
    assert not Job.objects.filter(run__approach__experiment__curve_of=finished).exists()

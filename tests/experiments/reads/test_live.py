"""What a run that goes on says of itself."""

import pytest

from experiments.models import Job
from experiments.reads.live import progress_sentence

CURVE = [{"step": 0, "seconds": 0.0}, {"step": 50, "seconds": 100.0}]


def training(**progress):
    return Job(state="running", progress={"phase": "training", "step": 60, "steps": 250} | progress)


def test_training_tells_what_is_left_at_its_own_speed():
    assert progress_sentence(training(curve=CURVE)) == "training, step 60 of 250, at most about 6 minutes of training left"


@pytest.mark.parametrize("curve", [None, [], CURVE[:1]])
def test_nothing_is_guessed_before_any_step_was_measured(curve):
    assert progress_sentence(training(curve=curve)) == "training, step 60 of 250"


def test_a_run_at_its_last_step_has_nothing_left_to_train():
    assert progress_sentence(training(curve=CURVE, step=250)) == "training, step 250 of 250"


@pytest.mark.parametrize(("field", "rows"), [("validation_accuracy", "validation rows"), ("inner_accuracy", "train rows set aside")])
def test_a_look_older_than_the_loss_beside_it_says_its_step(field, rows):
    curve = [{"step": 0, "seconds": 0.0, field: 0.556}]

    said = progress_sentence(training(step=43, steps=60, curve=curve, metrics={"train_loss": 0.116, field: 0.556}))

    assert said == f"training, step 43 of 60, loss 0.116, 55.6% right on {rows} (at step 0)"

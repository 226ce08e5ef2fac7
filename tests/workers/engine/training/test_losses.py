"""What training holds an answer to: soft targets as written down by hand, and equal whichever way rows are run."""

import math

import pytest
import torch

from tests.workers.engine.fakes import FAMILIES, LABELS, QUICK, make_backbone, make_frame, make_items, trie_of
from tests.workers.engine.training.test_loop import flat, stir
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.outcome import Quality
from workers.engine.contract.spec import Recipe
from workers.engine.methods.tuning import create_tuning
from workers.engine.passes.batching import Lines, SoftTargets
from workers.engine.training.loop import Hooks, Trainer
from workers.engine.training.losses import row_loss_of, soft_target_loss


def softened(numbers, temperature):
    powers = [math.exp(number / temperature) for number in numbers]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_soft_target_loss_is_what_the_paper_writes(temperature):
    student, teacher = [[-1.0, -3.0, -2.0], [-0.2, -4.0, -2.5]], [[-2.0, -0.5, -6.0], [-0.1, -5.0, -3.0]]
    by_hand = sum(
        -wanted * math.log(found) * temperature**2
        for ours, theirs in zip(student, teacher, strict=True)
        for found, wanted in zip(softened(ours, temperature), softened(theirs, temperature), strict=True)
    )

    found = soft_target_loss(torch.tensor(student), torch.tensor(teacher), temperature)

    assert float(found) == pytest.approx(by_hand, rel=1e-5)


def test_a_student_that_is_as_its_teacher_has_nothing_to_change():
    beliefs = torch.tensor([[-1.0, -3.0, -2.0]])
    student = beliefs.clone().requires_grad_()

    soft_target_loss(student, beliefs, 2.0).backward()

    assert student.grad is not None
    assert float(student.grad.abs().max()) < 1e-6


def make_taught(family, method="prompt_tuning", temperature=2.0, **options):
    """A trainer whose rows have beliefs that nobody but a teacher could have."""
    backbone = make_backbone(family)
    frame = make_frame(backbone, reserved=5)
    counted = {"num_virtual_tokens": 5} if method == "prompt_tuning" else {}
    tuning = create_tuning(backbone, frame, Recipe(method, {**QUICK, **counted, **options}), 0)
    rows = frame.encode(make_items(8))
    beliefs = 4 * torch.randn(len(rows), len(LABELS), generator=torch.Generator().manual_seed(1))
    answers = tuple(frame.answers_of(LABELS[int(each.argmax())])[0].ids for each in beliefs)
    lines = Lines(tuple(row.ids for row in rows), answers, SoftTargets(trie_of(frame), beliefs, temperature))
    return Trainer(backbone, tuning, lines, 0, Hooks(lambda: Quality(0.0, 0.0), lambda progress: None, lambda: None))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["prompt_tuning", "lora"])
def test_soft_targets_give_the_same_loss_and_gradient_shared_and_plain(family, method):
    trainer = make_taught(family, method)
    stir(trainer)
    rows = list(range(6))

    shared_loss, shared = trainer.loss_and_gradients(rows, plain=False)
    plain_loss, plain = trainer.loss_and_gradients(rows, plain=True)

    assert shared_loss == pytest.approx(plain_loss, rel=1e-4)
    assert float((flat(shared) - flat(plain)).norm() / flat(plain).norm()) <= 1e-3
    assert float(flat(plain).norm()) > 0


def test_an_encoder_decoder_learns_soft_targets_too():
    loss, gradients = make_taught("t5").loss_and_gradients([0, 1, 2], plain=True)

    assert math.isfinite(loss)
    assert float(flat(gradients).norm()) > 0


def test_the_loss_is_the_distance_of_the_scores_that_evaluation_uses():
    trainer = make_taught("llama")
    targets = trainer.lines.soft
    rows = [0, 3, 5]
    with torch.no_grad():
        virtual = trainer.tuning.virtual()
    scored = Scorer(trainer.backbone, targets.trie, virtual).score([trainer.lines.contexts[row] for row in rows]).labels

    loss, _ = trainer.loss_and_gradients(rows, plain=False)

    assert loss == pytest.approx(float(soft_target_loss(scored, targets.loglikelihoods[rows], 2.0)) / len(rows), rel=1e-4)


def test_micro_batches_do_not_change_what_soft_targets_teach():
    trainer = make_taught("llama")

    whole_loss, whole = trainer.loss_and_gradients(list(range(8)), plain=False)
    trainer.micro_size = 3
    parts_loss, parts = trainer.loss_and_gradients(list(range(8)), plain=False)

    assert parts_loss == pytest.approx(whole_loss, rel=1e-4)
    assert float((flat(parts) - flat(whole)).norm() / flat(whole).norm()) <= 1e-4


def test_rows_without_a_teacher_are_held_to_their_own_answers():
    lines = Lines(((3, 4),), ((5, 1),))

    assert row_loss_of(make_backbone(), lines).weight([0]) == 2

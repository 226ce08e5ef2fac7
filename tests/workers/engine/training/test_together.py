from typing import Any

import pytest
import torch

from tests.workers.engine.fakes import make_backbone, make_frame, make_items
from tests.workers.engine.training.test_loop import make_trainer
from workers.engine.contract.outcome import Quality
from workers.engine.contract.recipes import METHODS
from workers.engine.contract.spec import Recipe
from workers.engine.errors import NonFinite, RunStopped, Unsupported
from workers.engine.methods.tuning import create_tuning
from workers.engine.passes.batching import Lines
from workers.engine.passes.mixed import mixed_pass
from workers.engine.training.learning import judge
from workers.engine.training.loop import Hooks, Trainer
from workers.engine.training.together import METHODS_TOGETHER, begin_together, go_on_together, reason_against, train_together

# What is different in each configuration; every way in which one may differ from the others. Step sizes are multiples of the usual one.
DIFFERENT = (
    {"seed": 0, "learning_rate": 0.4},
    {"seed": 1, "learning_rate": 1.0, "schedule": "constant"},
    {"seed": 2, "learning_rate": 3.0, "clip_norm": 0.01, "batch_size": 3},
    {"seed": 3, "learning_rate": 1.0, "num_virtual_tokens": 3, "max_steps": 5, "patience": 1, "evaluate_every": 2},
)


@pytest.fixture
def one_thread():
    """Rows are not cut into parts that run side by side, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_trainers(method, backbone, different=DIFFERENT, stop_at=None, folder=None, **options):
    """Trainers that look at the validation rows with the scoring path of every result."""
    trainers = []
    for place, each in enumerate(different):
        own: dict[str, Any] = {
            "max_steps": 6,
            "batch_size": 4,
            "warmup_steps": 1,
            "evaluate_every": 3,
            "patience": 0,
            "num_virtual_tokens": 5,
        }
        own |= {**options, **{name: value for name, value in each.items() if name != "seed"}}
        own["learning_rate"] = own.get("learning_rate", 1.0) * METHODS[method].options["learning_rate"].default
        recipe = Recipe(method, own)
        frame = make_frame(backbone, reserved=5)
        tuning = create_tuning(backbone, frame, recipe, each["seed"])
        rows = frame.encode(make_items(12))
        lines = Lines(tuple(row.ids for row in rows), tuple(frame.answers_of(row.item.label)[0].ids for row in rows))
        saved = folder / str(place) if folder else None

        def check_stop(place=place):
            if stop_at is not None and trainers[place].step == stop_at:
                raise RunStopped("stop")

        hooks = Hooks(judge(backbone, frame, tuning, rows), lambda progress: None, check_stop, saved, 0.0, resume=folder is not None)
        trainers.append(Trainer(backbone, tuning, lines, each["seed"], hooks))
    return trainers


def prompt_of(trainer):
    """What stands in front of the rows, as one vector."""
    with torch.no_grad():
        virtual = trainer.tuning.virtual()
    tensors = virtual.states.tensors if virtual.states else [virtual.vectors]
    return torch.cat([tensor.flatten() for tensor in tensors])


def distance(one, other):
    return float((prompt_of(one) - prompt_of(other)).abs().max())


@pytest.mark.parametrize(("method", "family"), [*((method, "llama") for method in METHODS_TOGETHER), ("prompt_tuning", "gpt2")])
def test_every_configuration_learns_what_it_would_learn_alone(method, family):
    together, alone = (make_trainers(method, make_backbone(family)) for _ in range(2))

    train_together(together)
    for trainer in alone:
        trainer.train()

    for ours, solo in zip(together, alone, strict=True):
        assert [point.step for point in ours.record.losses] == [point.step for point in solo.record.losses]
        assert [point.train_loss for point in ours.record.losses] == pytest.approx(
            [point.train_loss for point in solo.record.losses], rel=1e-4
        )
        assert [point.validation_loss for point in ours.record.curve] == pytest.approx(
            [point.validation_loss for point in solo.record.curve], rel=1e-3
        )
        assert distance(ours, solo) <= 1e-3
        assert (ours.record.best_step, ours.record.steps, ours.record.stopped_early) == (
            solo.record.best_step,
            solo.record.steps,
            solo.record.stopped_early,
        )
        assert (ours.record.label_tokens, ours.record.row_tokens) == (solo.record.label_tokens, solo.record.row_tokens)
    assert distance(together[0], together[1]) > 2e-3


def test_one_forward_serves_all_configurations(one_thread):
    backbone = make_backbone()
    trainers = make_trainers("prompt_tuning", backbone, DIFFERENT[:3], max_steps=4, evaluate_every=100)
    begin_together(trainers)
    passes = []
    backbone.model.register_forward_pre_hook(lambda module, args, given: passes.append(sum(1 for _ in args)), with_kwargs=True)

    go_on_together(trainers, until=1)

    assert len(passes) == 2, "one pass for all prefixes, one for all rows"


def test_a_configuration_that_breaks_down_leaves_the_others_alone():
    backbone = make_backbone()
    together, alone = (make_trainers("prompt_tuning", backbone, DIFFERENT[:2]) for _ in range(2))
    begin_together(together)
    start = {name: master.clone() for name, master in together[0].masters.items()}
    broken = together[0].parameters
    with torch.no_grad():
        next(iter(broken.values())).fill_(float("nan"))

    go_on_together(together)
    alone[1].train()
    together[1].finish()

    assert isinstance(together[0].failure, NonFinite)
    assert all(torch.equal(together[0].masters[name], start[name]) for name in start)
    assert distance(together[1], alone[1]) <= 1e-3


def test_training_together_goes_on_where_it_was_stopped(tmp_path):
    whole = make_trainers("prompt_tuning", make_backbone(), folder=tmp_path / "whole")
    train_together(whole)

    with pytest.raises(RunStopped):
        train_together(make_trainers("prompt_tuning", make_backbone(), folder=tmp_path / "cut", stop_at=4))
    resumed = make_trainers("prompt_tuning", make_backbone(), folder=tmp_path / "cut")
    train_together(resumed)

    assert [trainer.record.resumed_from for trainer in resumed] == [4, 4, 4, 4]
    assert max(distance(one, other) for one, other in zip(whole, resumed, strict=True)) == 0.0


def test_lack_of_memory_runs_fewer_rows_at_once_and_changes_nothing(monkeypatch, one_thread):
    scarce, plenty = (make_trainers("prompt_tuning", make_backbone(), DIFFERENT[:2], max_steps=2) for _ in range(2))
    sizes = []

    def limited(model, prefixes, batch):
        if batch.size > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate too much")
        sizes.append(batch.size)
        return mixed_pass(model, prefixes, batch)

    train_together(plenty)
    monkeypatch.setattr("workers.engine.training.together.mixed_pass", limited)
    train_together(scarce)

    assert max(sizes) == 4
    assert [trainer.record.micro_batch_size for trainer in scarce] == [2, 2]
    assert max(distance(one, other) for one, other in zip(scarce, plenty, strict=True)) <= 1e-3


def test_what_sits_inside_the_model_is_refused_by_a_sentence():
    with pytest.raises(Unsupported, match="does not only stand in front of the rows"):
        train_together([make_trainer(make_backbone(), "lora")])


def test_a_model_that_runs_rows_whole_is_refused_with_its_reason():
    trainers = make_trainers("prompt_tuning", make_backbone("t5"), DIFFERENT[:2], init="vocabulary")
    begin_together(trainers)

    assert reason_against(trainers) == trainers[0].plain_reason


def test_patience_of_one_ends_only_that_one():
    trainers = make_trainers("prompt_tuning", make_backbone(), ({"seed": 0, "patience": 1, "evaluate_every": 1}, {"seed": 1}))
    trainers[0].hooks = Hooks(lambda: Quality(0.5, 1.0), lambda progress: None, lambda: None)

    train_together(trainers)

    assert [trainer.record.steps for trainer in trainers] == [1, 6]

import contextlib
import json

import pytest
import torch

from tests.workers.engine.fakes import QUICK, cells, each_way, make_backbone, make_frame, make_items, make_run
from workers.engine.contract.outcome import Quality
from workers.engine.contract.recipes import METHODS as ENGINE_METHODS
from workers.engine.contract.spec import Recipe
from workers.engine.errors import BadSpec, NonFinite, RunStopped
from workers.engine.execute import execute
from workers.engine.methods.tuning import create_tuning
from workers.engine.passes.batching import Lines
from workers.engine.training.checkpoints import load_checkpoint
from workers.engine.training.loop import Hooks, Trainer

METHODS = tuple(name for name, method in ENGINE_METHODS.items() if method.family == "tuned")
# Every method, and the ways in which one of them changes what is computed.
WAYS: dict[str, tuple[str, dict[str, str]]] = {name: (name, {}) for name in METHODS} | {
    "rslora": ("lora", {"variant": "rslora"}),
    "dora": ("lora", {"variant": "dora"}),
    "pfeiffer": ("bottleneck", {"placement": "pfeiffer"}),
}


def make_trainer(backbone, method, seed=0, hooks=None, **options):
    frame = make_frame(backbone, reserved=5, replaced=method == "cpt")
    counted = {"num_virtual_tokens": 5} if "num_virtual_tokens" in ENGINE_METHODS[method].options else {}
    tuning = create_tuning(backbone, frame, Recipe(method, {**QUICK, **counted, **options}), 0)
    rows = frame.encode(make_items(12))
    lines = Lines(tuple(row.ids for row in rows), tuple(frame.answers_of(row.item.label)[0].ids for row in rows))
    hooks = hooks or Hooks(lambda: Quality(0.0, 0.0), lambda progress: None, lambda: None)
    return Trainer(backbone, tuning, lines, seed, hooks)


def stir(trainer):
    """Move the learned part off its start, where LoRA's second matrix is zero and half of the gradients with it."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainer.parameters.values():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


@cells(WAYS)
def test_shared_and_plain_training_agree_in_loss_and_gradient(family, way):
    method, options = WAYS[way]
    trainer = make_trainer(make_backbone(family), method, **options)
    stir(trainer)
    rows = list(range(6))

    shared_loss, shared = trainer.loss_and_gradients(rows, plain=False)
    plain_loss, plain = trainer.loss_and_gradients(rows, plain=True)

    assert shared_loss == pytest.approx(plain_loss, rel=1e-4)
    assert float((flat(shared) - flat(plain)).norm() / flat(plain).norm()) <= 1e-4
    assert float(flat(plain).norm()) > 0


@pytest.mark.parametrize("method", ["prompt_tuning", "lora"])
def test_micro_batches_change_neither_loss_nor_gradient(method):
    trainer = make_trainer(make_backbone("llama"), method)
    stir(trainer)
    rows = list(range(8))

    whole_loss, whole = trainer.loss_and_gradients(rows, plain=False)
    trainer.micro_size = 3
    parts_loss, parts = trainer.loss_and_gradients(rows, plain=False)

    assert parts_loss == pytest.approx(whole_loss, rel=1e-4)
    assert float((flat(parts) - flat(whole)).norm() / flat(whole).norm()) <= 1e-4


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def in_one_part(trainer, rows, plain, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "_parts", lambda indices: [indices])
        return trainer.loss_and_gradients(rows, plain=plain)


@pytest.mark.parametrize(("way", "plain"), [*((way, False) for way in WAYS), ("prompt_tuning", True), ("lora", True)])
def test_parts_side_by_side_change_neither_loss_nor_gradient(two_threads, monkeypatch, way, plain):
    method, options = WAYS[way]
    trainer = make_trainer(make_backbone("llama"), method, batch_size=12, **options)
    stir(trainer)
    rows = list(range(9))

    whole_loss, whole = in_one_part(trainer, rows, plain, monkeypatch)
    parts_loss, parts = trainer.loss_and_gradients(rows, plain=plain)

    assert trainer._parts(rows) == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    assert parts_loss == pytest.approx(whole_loss, rel=1e-4)
    assert float((flat(parts) - flat(whole)).norm() / flat(whole).norm()) <= 1e-4


@pytest.mark.parametrize("method", ["prompt_tuning", "lora"])
def test_parts_side_by_side_give_the_same_bits_every_time(two_threads, method):
    trainer = make_trainer(make_backbone("llama"), method, batch_size=12)
    stir(trainer)

    found = [trainer.loss_and_gradients(list(range(12)), plain=False) for _ in range(5)]

    assert {loss for loss, _ in found} == {found[0][0]}
    assert all(torch.equal(flat(gradients), flat(found[0][1])) for _, gradients in found)


def test_rows_with_active_dropout_stay_in_one_part(two_threads):
    trainer = make_trainer(make_backbone("llama"), "lora", dropout=0.2)

    assert len(trainer._parts(list(range(12)))) == 1


def test_lack_of_memory_halves_the_micro_batch_and_keeps_the_batch(monkeypatch):
    trainer = make_trainer(make_backbone(), "prompt_tuning", batch_size=8)
    sizes = []
    original = trainer.row_loss._batch

    def scarce(indices, start):
        if len(indices) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate too much")
        sizes.append(len(indices))
        return original(indices, start)

    monkeypatch.setattr(trainer.row_loss, "_batch", scarce)
    trainer._take_step(list(range(8)))

    assert trainer.record.micro_batch_size == 2
    assert sum(sizes[-4:]) == 8


def test_lack_of_memory_for_two_rows_tries_the_prefix_on_one(monkeypatch):
    trainer = make_trainer(make_backbone(), "prompt_tuning")
    original, sizes = trainer.loss_and_gradients, []

    def scarce(indices, plain):
        sizes.append(len(indices))
        if len(indices) > 1:
            raise torch.OutOfMemoryError
        return original(indices, plain=plain)

    monkeypatch.setattr(trainer, "loss_and_gradients", scarce)

    assert trainer._plain_reason() is None
    assert sizes == [2, 1, 1]


def test_three_steps_without_finite_numbers_end_the_training_with_the_best_candidate(tmp_path):
    trainer = make_trainer(make_backbone(), "prompt_tuning")
    start = {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}
    trainer.backbone.model.get_output_embeddings().weight.data[0, 0] = float("nan")
    trainer._plain_reason = lambda: None

    with pytest.raises(NonFinite, match="not finite"):
        trainer.train()

    assert trainer.record.skipped_steps == 3
    assert all(torch.equal(parameter, start[name]) for name, parameter in trainer.parameters.items())


def test_training_lowers_the_loss_and_keeps_its_best_step():
    looks = iter([Quality(0.1, 9.0), Quality(0.5, 2.0), Quality(0.4, 1.0)])
    trainer = make_trainer(
        make_backbone(), "lora", hooks=Hooks(lambda: next(looks), lambda progress: None, lambda: None), learning_rate=0.02
    )
    before, _ = trainer.loss_and_gradients(list(range(12)), plain=False)

    record = trainer.train()
    after, _ = trainer.loss_and_gradients(list(range(12)), plain=False)

    assert after < before
    assert record.best_step == 3
    assert [point.step for point in record.curve] == [0, 3, 6]


def test_progress_carries_the_training_so_far():
    heard = []
    trainer = make_trainer(make_backbone(), "lora", hooks=Hooks(lambda: Quality(0.5, 1.0), heard.append, lambda: None))

    record = trainer.train()

    assert list(heard[-1].curve) == record.curve
    assert [point.step for point in heard[-1].losses] == list(range(1, record.steps + 1))
    assert [len(each.losses) for each in heard if each.step] == sorted(len(each.losses) for each in heard if each.step)


def test_a_training_that_never_helps_keeps_step_zero():
    looks = iter([Quality(0.9, 1.0), Quality(0.1, 2.0), Quality(0.1, 2.0)])
    trainer = make_trainer(make_backbone(), "prompt_tuning", hooks=Hooks(lambda: next(looks), lambda progress: None, lambda: None))
    start = {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}

    record = trainer.train()

    assert record.best_step == 0
    assert all(torch.equal(parameter, start[name]) for name, parameter in trainer.parameters.items())


def test_patience_ends_a_training_that_stands_still():
    trainer = make_trainer(make_backbone(), "prompt_tuning", patience=2, evaluate_every=1)

    record = trainer.train()

    assert record.stopped_early
    assert record.steps == 2


T5 = {"optimizer": "adafactor", "learning_rate": 0.3, "init": "vocabulary"}


@pytest.mark.parametrize(
    ("family", "method", "options"), [("llama", "prompt_tuning", {}), ("llama", "lora", {}), ("t5", "prompt_tuning", T5)]
)
def test_a_resumed_training_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path, family, method, options):
    def train(stop_at=None, resume=False):
        def check_stop():
            if stop_at is not None and trainer.step == stop_at:
                raise RunStopped("stop")

        hooks = Hooks(lambda: Quality(trainer.step / 100, 1.0), lambda progress: None, check_stop, tmp_path / method, 0.0, resume)
        trainer: Trainer = make_trainer(make_backbone(family), method, hooks=hooks, max_steps=8, **options)
        with contextlib.suppress(RunStopped):
            trainer.train()
        return trainer

    whole = train()
    train(stop_at=5)
    checkpoint = load_checkpoint(tmp_path / method)
    assert checkpoint is not None
    assert checkpoint[0] == 5
    resumed = train(resume=True)

    assert resumed.record.resumed_from == 5
    assert [(p.step, p.train_loss) for p in resumed.record.curve] == [(p.step, p.train_loss) for p in whole.record.curve]
    for name, parameter in whole.parameters.items():
        assert torch.equal(parameter, resumed.parameters[name]), name


def test_t5_learns_soft_prompts_with_adafactor_at_its_own_step():
    trainer = make_trainer(make_backbone("t5"), "prompt_tuning", **T5)

    assert type(trainer.optimizer).__name__ == "Adafactor"
    assert trainer.peak_rate == 0.3
    group = trainer.optimizer.param_groups[0]
    assert (group["scale_parameter"], group["relative_step"], group["warmup_init"]) == (False, False, False)


def test_adafactor_is_refused_on_other_families():
    with pytest.raises(BadSpec, match="this model is of the family llama"):
        make_trainer(make_backbone("llama"), "prompt_tuning", optimizer="adafactor")


def test_a_torn_checkpoint_is_not_resumed_from(tmp_path):
    hooks = Hooks(lambda: Quality(0.5, 1.0), lambda progress: None, lambda: None, tmp_path, 0.0)
    make_trainer(make_backbone(), "prompt_tuning", hooks=hooks).train()
    [tensors] = tmp_path.glob("step-*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-8])

    assert load_checkpoint(tmp_path) is None


def test_active_dropout_takes_the_plain_path_and_says_so(tmp_path):
    run = make_run(tmp_path, make_backbone(), "lora", options={"dropout": 0.2})

    execute(run)

    assert any("dropout is active" in warning for warning in run.warnings)


def test_two_train_rows_are_enough_to_train_and_to_choose(tmp_path):
    result = execute(make_run(tmp_path, make_backbone(), "prompt_tuning", rows=2, validation=None))

    assert result.training is not None
    assert result.training.steps == 6
    assert any("have no train row" in warning for warning in result.warnings)
    assert json.loads((tmp_path / "out" / "result.json").read_text())["training"]["validation_source"].startswith("1 rows of the inner")


@pytest.mark.parametrize("method", ["cpt", "bottleneck", "full"])
def test_two_train_rows_are_enough_for_every_method(tmp_path, method):
    result = execute(make_run(tmp_path, make_backbone(), method, rows=2, validation=None))

    assert result.training is not None
    assert result.training.steps == 6


@each_way(WAYS)
def test_the_highest_step_size_ends_in_a_result_or_a_sentence(tmp_path, way):
    method, options = WAYS[way]
    highest = ENGINE_METHODS[method].options["learning_rate"].high
    run = make_run(tmp_path, make_backbone(), method, options={"learning_rate": highest, "warmup_steps": 0, **options})

    with contextlib.suppress(NonFinite):
        assert execute(run).state == "succeeded"


def test_adapters_of_a_bf16_model_learn_through_fp32_masters():
    better = iter(range(10))
    hooks = Hooks(lambda: Quality(next(better) / 10, 1.0), lambda progress: None, lambda: None)
    trainer = make_trainer(make_backbone("llama", dtype=torch.bfloat16), "lora", hooks=hooks, learning_rate=1e-4)

    trainer.train()

    assert {parameter.dtype for parameter in trainer.parameters.values()} == {torch.bfloat16}
    assert {master.dtype for master in trainer.masters.values()} == {torch.float32}
    assert all(torch.equal(parameter, trainer.masters[name].bfloat16()) for name, parameter in trainer.parameters.items())
    assert any(not torch.equal(master, master.bfloat16().float()) for master in trainer.masters.values())

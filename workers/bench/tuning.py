"""b1 to b4: training soft prompts, against PEFT with transformers' Trainer and against TRL's SFTTrainer.

Same start values, rows, order, optimizer, step size and clipping, no dropout on either side. The clock runs from the beginning of the
first step to the end of the last, so that neither side pays for setting up.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from peft import PeftModel, PromptTuningConfig, get_peft_model
from torch import Tensor
from transformers import Trainer as LibraryTrainer
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from workers.bench.lab import Lab
from workers.bench.protocol import Clock, Entry, NotEqual, Side, compare, require_close, total
from workers.engine.batching import Lines, shuffled_batches
from workers.engine.frame import Frame
from workers.engine.outcome import Progress, Quality
from workers.engine.recipes import OptionValue
from workers.engine.spec import EvaluateOn, FileRef, Recipe, RunSpec
from workers.engine.template_spec import TemplateSpec
from workers.engine.together import train_together
from workers.engine.training import Hooks, Trainer
from workers.engine.tuning import create_tuning

BATCH = 8
_PAD_OF_EXAMPLE = 64
_BETA2 = 0.95
_CONFIGURATIONS = 8


@dataclass(frozen=True)
class Task:
    """Rows to learn from, in the order of both sides.

    Args:
        virtual: length of the soft prompt.
        steps: of one round.
        seed: of the start values and of the order of the rows.
        rate: step size as a multiple of the typical embedding coordinate.
    """

    lines: Lines
    virtual: int
    steps: int
    seed: int = 0
    rate: float = 0.05
    lengths: list[int] = field(init=False)

    def __post_init__(self) -> None:
        lengths = [len(row) + len(answer) - 1 for row, answer in zip(self.lines.contexts, self.lines.answers, strict=True)]
        object.__setattr__(self, "lengths", lengths)

    def order(self) -> list[int]:
        """The rows of all steps, one after the other, as the engine draws them."""
        batches = shuffled_batches([len(row) for row in self.lines.contexts], BATCH, self.seed)
        return [index for batch in islice(batches, self.steps) for index in batch]


@dataclass(frozen=True)
class Trained:
    """What a training found: the loss of each step, in order where the order was the same, and the soft prompt."""

    losses: list[float]
    vectors: list[float]


@dataclass(frozen=True)
class Way:
    """How a peer pads and orders its rows.

    Args:
        pad_to: every row is as long as this; 0 pads to the longest of a batch.
        sampling: transformers' name of the order.
    """

    name: str
    pad_to: int = 0
    sampling: str = "sequential"


EXAMPLE = Way("PEFT + Trainer, padded to 64", _PAD_OF_EXAMPLE)
DYNAMIC = Way("PEFT + Trainer, dynamic, by length", sampling="group_by_length")


def make_task(lab: Lab, virtual: int) -> Task:
    """Rows of 17 to 28 tokens with answers of two."""
    rows = lab.rows(BATCH * max(8, lab.sizes.steps), 17, 28, seed=5)
    answers = tuple((*lab.ids(1, seed=600 + place % 4), lab.backbone.terminator_id) for place in range(len(rows)))
    return Task(Lines(tuple(rows), answers), virtual, lab.sizes.steps)


def frame_of(lab: Lab) -> Frame:
    """A prompt that is the row alone; soft prompts that start at random read nothing of it."""
    spec = RunSpec("bench", lab.ref, TemplateSpec("{{text}}"), (EvaluateOn("none", FileRef("none.jsonl")),), task="extraction")
    return Frame(spec, lab.backbone)


def recipe_of(task: Task, **more: OptionValue) -> Recipe:
    """AdamW at a constant step, looks at no rows before the end, no early stop."""
    options: dict[str, OptionValue] = {
        "num_virtual_tokens": task.virtual,
        "init": "random",
        "learning_rate": task.rate,
        "schedule": "constant",
        "warmup_steps": 0,
        "max_steps": task.steps,
        "batch_size": BATCH,
        "evaluate_every": task.steps,
        "patience": 0,
    }
    return Recipe("prompt_tuning", options | more)


class _Last:
    """A look at the validation rows that finds every candidate better than the one before, so that the last one stays."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> Quality:
        self.looks += 1
        return Quality(None, -float(self.looks))


def ours(lab: Lab, task: Task, clock: Clock) -> Trained:
    """The engine's one training loop."""
    trainer = trainer_of(lab, task, clock)
    trainer.train()
    return _learned(trainer)


def trainer_of(lab: Lab, task: Task, clock: Clock) -> Trainer:
    """A training as a run sets it up; the clock runs while it takes steps."""
    tuning = create_tuning(lab.backbone, frame_of(lab), recipe_of(task), task.seed)
    stopped: list[bool] = []

    def on_progress(progress: Progress) -> None:
        if progress.step == task.steps and not stopped:
            clock.stop()
            stopped.append(True)

    return Trainer(lab.backbone, tuning, task.lines, task.seed, Hooks(_Last(), on_progress, clock.start))


def _learned(trainer: Trainer) -> Trained:
    vectors = next(iter(trainer.tuning.parameters().values())).detach().flatten().tolist()
    trainer.tuning.remove()
    return Trained([point.train_loss for point in trainer.record.losses], vectors)


class Steps(TrainerCallback):  # type: ignore[misc]
    """Starts the clock at the first step of a peer, stops it after each, and notes the losses."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.losses: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.clock.start()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.clock.stop()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


def library(lab: Lab, task: Task, way: Way, clock: Clock) -> Trained:
    """PEFT's soft prompt in transformers' Trainer, rows as its causal language modelling example gives them."""
    steps = Steps(clock)
    model = soft_prompt(lab, task)
    rows = library_rows(task.lines, task.order())
    arguments = TrainingArguments(**arguments_of(lab, task, way))
    trainer = LibraryTrainer(model, arguments, collator(lab, way), train_dataset=rows, callbacks=[steps])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return _found(lab, model, steps)


def trl(lab: Lab, task: Task, way: Way, clock: Clock) -> Trained:
    """TRL's SFTTrainer on the same rows, gradient checkpointing and packing off."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    steps = Steps(clock)
    model = soft_prompt(lab, task)
    own = {"gradient_checkpointing": False, "packing": False, "max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    try:
        trainer = SFTTrainer(
            model,
            SFTConfig(**arguments_of(lab, task, way), **own),
            collator(lab, way),
            Dataset.from_list(library_rows(task.lines, task.order())),
            processing_class=lab.backbone.tokenizer,
            callbacks=[steps],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    finally:
        lab.peer.__dict__.pop("forward", None)  # its fused head stays on the model otherwise, and the next one on top of it
    return _found(lab, model, steps)


def soft_prompt(lab: Lab, task: Task) -> PeftModel:
    """PEFT's soft prompt with the engine's start values."""
    tuning = create_tuning(lab.backbone, frame_of(lab), recipe_of(task), task.seed)
    start = next(iter(tuning.parameters().values())).detach().clone()
    tuning.remove()
    model = get_peft_model(lab.peer, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=task.virtual))
    with torch.no_grad():
        model.prompt_encoder["default"].embedding.weight.copy_(start)
    return model


def library_rows(lines: Lines, order: Iterable[int]) -> list[dict[str, list[int]]]:
    """Rows in this order, answers as labels; positions without a label count nothing."""
    rows = []
    for index in order:
        context, answer = lines.contexts[index], lines.answers[index]
        rows.append({"input_ids": [*context, *answer], "labels": [-100] * len(context) + list(answer)})
    return rows


def collator(lab: Lab, way: Way) -> Callable[[list[dict[str, list[int]]]], dict[str, Tensor]]:
    """Pads on the right, where pads between prompt and text cannot move what is computed."""
    pad = lab.backbone.terminator_id

    def collate(rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
        width = way.pad_to or max(len(row["input_ids"]) for row in rows)
        blanks = [width - len(row["input_ids"]) for row in rows]
        filled = {
            "input_ids": [row["input_ids"] + [pad] * blank for row, blank in zip(rows, blanks, strict=True)],
            "labels": [row["labels"] + [-100] * blank for row, blank in zip(rows, blanks, strict=True)],
            "attention_mask": [[1] * (width - blank) + [0] * blank for blank in blanks],
        }
        return {name: torch.tensor(values) for name, values in filled.items()}

    return collate


def arguments_of(lab: Lab, task: Task, way: Way) -> dict[str, Any]:
    """The same optimizer as ours; nothing is saved, reported or drawn on the terminal."""
    return {
        "output_dir": str(lab.folder / "peer"),
        "per_device_train_batch_size": BATCH,
        "max_steps": task.steps,
        "learning_rate": task.rate * lab.backbone.embedding_rms(),
        "lr_scheduler_type": "constant",
        "adam_beta2": _BETA2,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "train_sampling_strategy": way.sampling,
        "bf16": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "use_cpu": lab.backbone.device.type == "cpu",
        "seed": task.seed,
    }


def _found(lab: Lab, model: PeftModel, steps: Steps) -> Trained:
    vectors = model.prompt_encoder["default"].embedding.weight.detach().flatten().tolist()
    lab.peer.eval().requires_grad_(False)
    return Trained(steps.losses, vectors)


def equal(lab: Lab, theirs: Trained, mine: Trained) -> str:
    """The loss of every step, and the soft prompt at the end."""
    share, gap = (1e-4, 1e-3) if lab.is_exact else (0.02, 0.1)
    losses = require_close("losses", theirs.losses, mine.losses, relative=share)
    return f"{losses}, {require_close('soft prompts', theirs.vectors, mine.vectors, absolute=gap)}"


def in_any_order(theirs: Trained, mine: Trained) -> str:
    """Rounds whose rows come in orders of their own are compared by the length of what they found."""
    if len(theirs.losses) != len(mine.losses):
        raise NotEqual(f"The peer took {len(theirs.losses)} steps, we took {len(mine.losses)}.")
    return "as many steps"


def training_flop(lab: Lab, task: Task, width: Callable[[list[int]], int]) -> float:
    """Of a peer: prompt and pads run for each row, all positions projected; a frozen base costs one backward pass over activations."""
    total = 0.0
    order = task.order()
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        tokens = len(batch) * (task.virtual + width([task.lengths[index] + 1 for index in batch]))
        total += 2 * lab.shape.forward_flop(tokens, tokens * tokens / len(batch) / 2, tokens)
    return total


def shared_flop(lab: Lab, task: Task) -> float:
    """Of ours: the prompt once a step, rows without pads, answers alone projected."""
    total = 0.0
    order = task.order()
    for at in range(0, len(order), BATCH):
        lengths = [task.lengths[index] for index in order[at : at + BATCH]]
        pairs = task.virtual**2 / 2 + sum(length * (task.virtual + length / 2) for length in lengths)
        total += 2 * lab.shape.forward_flop(task.virtual + sum(lengths), pairs, 2 * len(lengths))
    return total


def against(lab: Lab, name: str, task: Task, way: Way, train: Callable[[Lab, Task, Way, Clock], Trained] = library) -> Entry:
    """One measure: equality on the engine's own order, then rounds in the order that suits the peer."""
    fixed = replace(way, sampling="sequential")
    few = Task(task.lines, task.virtual, min(3, task.steps))
    theirs = Side(
        way.name,
        lambda clock: train(lab, task, way, clock),
        lambda clock: train(lab, few, fixed, clock),
        flop=training_flop(lab, task, lambda lengths: way.pad_to or max(lengths)),
    )
    mine = Side("Trainer", lambda clock: ours(lab, task, clock), lambda clock: ours(lab, few, clock), flop=shared_flop(lab, task))

    again = None if way.sampling == "sequential" else in_any_order
    with seeded_peers():
        return compare(lab.rules, name, theirs, mine, lambda a, b: equal(lab, a, b), (task.steps, "steps/s"), again)


@contextmanager
def seeded_peers() -> Iterator[None]:
    """The peers draw the order of their rows from torch's stream; it goes on afterwards where it was."""
    with torch.random.fork_rng(devices=[]):
        yield


def b1(lab: Lab) -> Entry:
    return against(lab, "b1", make_task(lab, 20), EXAMPLE)


def b2_trainer(lab: Lab) -> Entry:
    return against(lab, "b2-trainer", make_task(lab, 20), best_way(lab))


def b2_trl(lab: Lab) -> Entry:
    return against(lab, "b2-trl", make_task(lab, 20), replace(DYNAMIC, name="TRL SFTTrainer, dynamic, by length"), trl)


def b3(lab: Lab) -> Entry:
    return against(lab, "b3", make_task(lab, 100), best_way(lab))


def b4(lab: Lab) -> Entry:
    """Eight seeds and step sizes: all in one forward, against one run after the other."""
    lines = make_task(lab, 20).lines
    steps = max(2, lab.sizes.steps // 2)
    tasks = [Task(lines, 20, steps, seed, rate=0.02 * (seed + 1)) for seed in range(_CONFIGURATIONS)]
    few = [replace(task, steps=2) for task in tasks[:2]]
    way = best_way(lab)
    theirs = Side(
        f"{way.name}, one run after the other",
        lambda clock: one_by_one(lab, tasks, way, clock),
        lambda clock: one_by_one(lab, few, replace(way, sampling="sequential"), clock),
        flop=sum(training_flop(lab, task, max) for task in tasks),
    )
    mine = Side(
        "train_together",
        lambda clock: together(lab, tasks, clock),
        lambda clock: together(lab, few, clock),
        flop=sum(shared_flop(lab, task) for task in tasks),
    )
    with seeded_peers():
        return compare(lab.rules, "b4", theirs, mine, lambda a, b: equal(lab, a, b), (len(tasks), "runs/s"), in_any_order)


def together(lab: Lab, tasks: Sequence[Task], clock: Clock) -> Trained:
    """All configurations in one forward; what they found stands one behind the other."""
    trainers = [trainer_of(lab, task, clock) for task in tasks]
    train_together(trainers)
    return _joined([_learned(trainer) for trainer in trainers])


def one_by_one(lab: Lab, tasks: Sequence[Task], way: Way, clock: Clock) -> Trained:
    """A run for each configuration, its setting up left out every time."""
    clocks = [Clock(lab.settle) for _ in tasks]
    found = _joined([library(lab, task, way, each) for task, each in zip(tasks, clocks, strict=True)])
    clock.spent = total(clocks)
    return found


def _joined(parts: Sequence[Trained]) -> Trained:
    return Trained([loss for part in parts for loss in part.losses], [value for part in parts for value in part.vectors])


def best_way(lab: Lab) -> Way:
    """The faster of dynamic padding in a drawn order and by length, tried for two steps each."""
    if "way" not in lab.swept:
        few = Task(make_task(lab, 20).lines, 20, 2)
        seconds = []
        for way in _WAYS:
            clock = Clock(lab.settle)
            library(lab, few, way, clock)
            assert clock.spent is not None
            seconds.append(clock.spent.by(lab.rules.clock))
        lab.swept["way"] = seconds.index(min(seconds))
    return _WAYS[lab.swept["way"]]


_WAYS = (DYNAMIC, Way("PEFT + Trainer, dynamic, drawn order", sampling="random"))

"""The peers of b1 to b5: PEFT with transformers' Trainer, and TRL's SFTTrainer, on the engine's rows and start values."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel, PromptTuningConfig, get_peft_model
from torch import Tensor
from transformers import Trainer as LibraryTrainer
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from workers.bench.lab import Lab
from workers.bench.protocol import Clock
from workers.bench.tuning_task import BATCH, Task, Trained, frame_of, recipe_of
from workers.engine.methods.tuning import create_tuning
from workers.engine.passes.batching import Lines

_PAD_OF_EXAMPLE = 64
_BETA2 = 0.95


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


Training = Callable[[Lab, Task, Way, Clock], Trained]
LIBRARY = "PEFT + Trainer"
EXAMPLE = Way(f"{LIBRARY}, padded to 64", _PAD_OF_EXAMPLE)


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


@contextmanager
def seeded_peers() -> Iterator[None]:
    """The peers draw the order of their rows from torch's stream; it goes on afterwards where it was."""
    with torch.random.fork_rng(devices=[]):
        yield

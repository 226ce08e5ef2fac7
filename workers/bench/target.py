"""b5: seconds until the loss on validation rows has fallen to a target, looks at them included, against PEFT with Trainer.

The task can be learned by a model of drawn weights: four answers recur, so that a soft prompt can make them likely. The target is what
both sides reach after the same steps, if they compute the same.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from transformers import Trainer as LibraryTrainer
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback

from workers.bench.lab import Lab
from workers.bench.protocol import Clock, Entry, Side, compare, require_close, require_same
from workers.bench.tuning_peers import LIBRARY, Steps, Way, arguments_of, collator, library_rows, soft_prompt
from workers.bench.tuning_task import BATCH, Task, frame_of, make_task, recipe_of
from workers.engine.answering.scoring import line_scores
from workers.engine.contract.outcome import Quality
from workers.engine.errors import RunStopped
from workers.engine.methods.tuned import Tuning
from workers.engine.methods.tuning import create_tuning
from workers.engine.passes.batching import Lines
from workers.engine.training.loop import Hooks, Trainer

_VIRTUAL = 20
_STEPS = 12
_LOOK_EVERY = 4
_ROWS_TO_LOOK_AT = 32
_RATE = 0.5
_WAY = Way(f"{LIBRARY}, dynamic")
_LOOK_BATCHES = (BATCH, _ROWS_TO_LOOK_AT)


@dataclass(frozen=True)
class Reached:
    """The looks that it took: steps, and the loss at each."""

    steps: list[int]
    losses: list[float]


@dataclass(frozen=True)
class Goal:
    """What both sides train towards."""

    task: Task
    looked_at: Lines
    loss: float


def make_goal(lab: Lab) -> Goal:
    """Train rows, validation rows and the loss that some steps reach, found by an untimed training of ours."""
    lines = make_task(lab, _VIRTUAL).lines
    looked_at = Lines(tuple(lab.rows(_ROWS_TO_LOOK_AT, 17, 28, seed=8)), lines.answers[:_ROWS_TO_LOOK_AT])
    goal = Goal(Task(lines, _VIRTUAL, _STEPS, rate=_RATE), looked_at, -math.inf)
    losses = ours(lab, goal, Clock()).losses
    # The peer's rounding may leave it a hair above.
    return replace(goal, loss=losses[-1] + 0.02 * abs(losses[-2] - losses[-1]))


def loss_of(lab: Lab, tuning: Tuning, lines: Lines) -> float:
    """Mean loss of an answer's token (nats)."""
    found = line_scores(lab.backbone, tuning.virtual(), lines.contexts, lines.answers)
    return -float(found.sum()) / sum(map(len, lines.answers))


def ours(lab: Lab, goal: Goal, clock: Clock) -> Reached:
    """The engine's loop, stopped as a person would stop it."""
    recipe = recipe_of(goal.task, evaluate_every=_LOOK_EVERY)
    tuning = create_tuning(lab.backbone, frame_of(lab), recipe, 0)
    found = Reached([], [])

    def look() -> Quality:
        loss = loss_of(lab, tuning, goal.looked_at)
        if trainer.step:
            found.steps.append(trainer.step)
            found.losses.append(loss)
            if loss <= goal.loss:
                raise RunStopped("The target is reached.")
        return Quality(None, loss)

    trainer = Trainer(lab.backbone, tuning, goal.task.lines, 0, Hooks(look, lambda progress: None, clock.start))
    try:
        trainer.train()
    except RunStopped:
        pass
    finally:
        clock.stop()
        tuning.remove()
    return found


class _Until(Steps):
    """Ends a peer's training at the first look that finds the target."""

    def __init__(self, clock: Clock, loss: float) -> None:
        super().__init__(clock)
        self.target, self.found = loss, Reached([], [])

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any) -> None:
        assert metrics is not None, "a look has its figures"
        self.found.steps.append(state.global_step)
        self.found.losses.append(metrics["eval_loss"])
        self.clock.stop()
        control.should_training_stop = control.should_training_stop or metrics["eval_loss"] <= self.target


def library(lab: Lab, goal: Goal, look_batch: int, clock: Clock) -> Reached:
    """PEFT with Trainer, which looks as often at the same rows, so many at once."""
    until = _Until(clock, goal.loss)
    model = soft_prompt(lab, goal.task)
    arguments = arguments_of(lab, goal.task, _WAY) | {
        "eval_strategy": "steps",
        "eval_steps": _LOOK_EVERY,
        "per_device_eval_batch_size": look_batch,
        "prediction_loss_only": True,
    }
    looked_at = library_rows(goal.looked_at, range(len(goal.looked_at)))
    trainer = LibraryTrainer(
        model,
        TrainingArguments(**arguments),
        collator(lab, _WAY),
        train_dataset=library_rows(goal.task.lines, goal.task.order()),
        eval_dataset=looked_at,
        callbacks=[until],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    lab.peer.eval().requires_grad_(False)
    return until.found


def b5(lab: Lab) -> Entry:
    goal = make_goal(lab)
    easy = replace(goal, loss=math.inf)  # reached at the first look
    # The order of the rows decides when the target is reached, so that both sides keep ours; the looks are the peer's to arrange.
    at_once = lab.best_of("b5", _LOOK_BATCHES, lambda size, clock: library(lab, easy, size, clock))
    theirs = Side(
        f"{_WAY.name}, looks at {at_once} rows at once",
        lambda clock: library(lab, goal, at_once, clock),
        lambda clock: library(lab, easy, at_once, clock),
    )
    mine = Side("Trainer", lambda clock: ours(lab, goal, clock), lambda clock: ours(lab, easy, clock))

    def check(a: Reached, b: Reached) -> str:
        # Rounding errors grow from step to step, so that the looks agree less closely than the first losses do.
        if not lab.is_exact:
            return f"{len(a.steps)} and {len(b.steps)} looks"
        looks = require_same("looks", a.steps, b.steps)
        close = require_close("validation losses", a.losses, b.losses, relative=0.02)
        return f"{looks}, {close}"

    entry = compare(lab.rules, "b5", theirs, mine, check, (1, "targets/s"))
    entry.note = f"{_STEPS} steps with a look after every {_LOOK_EVERY}, to a loss of {goal.loss:.3f} a token"
    return entry

"""b1 to b4: training soft prompts, against PEFT with transformers' Trainer and against TRL's SFTTrainer.

Same start values, rows, order, optimizer, step size and clipping, no dropout on either side. The clock runs from the beginning of the
first step to the end of the last, so that neither side pays for setting up.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from workers.bench.lab import Lab
from workers.bench.protocol import Clock, Entry, NotEqual, Side, compare, require_close, total
from workers.bench.tuning_peers import EXAMPLE, LIBRARY, Training, Way, library, seeded_peers, trl
from workers.bench.tuning_task import BATCH, Task, Trained, frame_of, make_task, recipe_of
from workers.engine.contract.outcome import Progress, Quality
from workers.engine.methods.tuning import create_tuning
from workers.engine.training.loop import Hooks, Trainer
from workers.engine.training.together import train_together

_CONFIGURATIONS = 8


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


def against(lab: Lab, name: str, task: Task, way: Way, train: Training = library) -> Entry:
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


def b1(lab: Lab) -> Entry:
    return against(lab, "b1", make_task(lab, 20), EXAMPLE)


def b2_trainer(lab: Lab) -> Entry:
    return against(lab, "b2-trainer", make_task(lab, 20), best_way(lab))


def b2_trl(lab: Lab) -> Entry:
    return against(lab, "b2-trl", make_task(lab, 20), best_way(lab, "TRL SFTTrainer", trl), trl)


def b3(lab: Lab) -> Entry:
    return against(lab, "b3", make_task(lab, 100), best_way(lab))


def b4(lab: Lab) -> Entry:
    """Eight seeds and step sizes: all in one forward, against one run after the other."""
    lines = make_task(lab, 20).lines
    steps = max(2, lab.sizes.steps // 2)
    tasks = [Task(lines, 20, steps, seed, rate=0.02 * (seed + 1)) for seed in range(_CONFIGURATIONS)]
    few = [replace(task, steps=2) for task in tasks]  # each has to equal its run alone, not only the first
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


def best_way(lab: Lab, peer: str = LIBRARY, train: Training = library) -> Way:
    """The faster of dynamic padding by length and in a drawn order, tried for two steps each."""
    few = Task(make_task(lab, 20).lines, 20, 2)
    ways = [Way(f"{peer}, dynamic, {words}", sampling=sampling) for sampling, words in _ORDERS.items()]
    return lab.best_of(peer, ways, lambda way, clock: train(lab, few, way, clock))


_ORDERS = {"group_by_length": "by length", "random": "drawn order"}

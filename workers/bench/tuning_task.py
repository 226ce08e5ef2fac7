"""What both sides of b1 to b5 are given to learn, and what a training found. Knows the engine and no peer."""

from dataclasses import dataclass, field
from itertools import islice

from workers.bench.lab import Lab
from workers.engine.contract.recipes import OptionValue
from workers.engine.contract.spec import EvaluateOn, FileRef, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.passes.batching import Lines, shuffled_batches
from workers.engine.prompts.frame import Frame

BATCH = 8


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

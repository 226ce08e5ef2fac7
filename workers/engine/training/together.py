"""Several configurations learn in one forward pass: K learned prompts, each in front of its own rows, on one frozen model.

The loss of a step is the sum of K losses, and each reaches its own prompt alone, so gradients do not mix: every configuration learns
what it would learn by itself. Optimiser, step size, gradient limit, looks, patience and the order of rows stay each trainer's own.
What is saved is reading the model's weights K times for a few rows each.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.engine.errors import NonFinite, OutOfMemory, Unsupported
from workers.engine.model.runtime import is_out_of_memory
from workers.engine.passes.abreast import add_gradients, cut
from workers.engine.passes.batching import line_batch
from workers.engine.passes.forward import attention_for_gradients
from workers.engine.passes.mixed import PrefixRows, mixed_pass
from workers.engine.passes.prefix import PrefixStates, prefixes_of
from workers.engine.training.loop import Trainer
from workers.engine.training.losses import LENGTH_STEP

# A part that one thread of a processor works on; larger ones of a small model leave its caches.
_PART_TOKENS = 512
METHODS_TOGETHER = ("prompt_tuning", "p_tuning", "prefix_tuning")


def train_together(trainers: Sequence[Trainer]) -> None:
    """Train configurations side by side and leave the best candidate of each in its `tuning`.

    Each configuration is a `Trainer` as for a training alone, all on the same backbone:

        trainers = [Trainer(backbone, create_tuning(backbone, frame, recipe, seed), lines, seed, hooks) for recipe, seed in wanted]
        train_together(trainers)
        records = [trainer.record for trainer in trainers]

    Args:
        trainers: configurations of one of METHODS_TOGETHER. Options, seeds, rows and the number of learned tokens may differ. Each stops by
            itself. Where one breaks down, its `failure` says why, and the others go on.
    Raises:
        Unsupported: they cannot share a pass; the sentence says why.
        RunStopped, TimeLimit: asked to stop; the last checkpoints stay.
        OutOfMemory: not even one row of each fits.
    """
    begin_together(trainers)
    if reason := reason_against(trainers):
        raise Unsupported(f"These configurations cannot learn in one pass: {reason}. Train them one after another.")
    go_on_together(trainers)
    for trainer in trainers:
        trainer.finish()


def begin_together(trainers: Sequence[Trainer]) -> None:
    """Begin every training; the model is asked only once whether rows may share a prefix."""
    for trainer in trainers:
        trainer.begin(like=None if trainer is trainers[0] else trainers[0])


def reason_against(trainers: Sequence[Trainer]) -> str | None:
    """Why trainers that have begun cannot learn in one pass, or None when they can."""
    for trainer in trainers:
        if trainer.tuning.recipe.method not in METHODS_TOGETHER:
            return "what they learn does not only stand in front of the rows"
        if trainer.lines.soft:
            return "they learn how likely a teacher finds every label, which takes a pass over all labels of each row"
        if trainer.plain_reason:
            return trainer.plain_reason
    return None


def go_on_together(trainers: Sequence[Trainer], until: int | None = None) -> None:
    """Take steps, one forward for all, until each configuration has taken this many or has ended.

    Args:
        trainers: they have begun, and nothing speaks against them (`reason_against`).
    """
    while learning := [each for each in trainers if not each.has_ended and (until is None or each.step < until)]:
        for trainer in learning:
            trainer.hooks.check_stop()
        started = time.perf_counter()
        _take_step(learning)
        seconds = (time.perf_counter() - started) / len(learning)
        for trainer in learning:
            if trainer.failure is None:
                trainer.end_step(seconds)


def _take_step(trainers: Sequence[Trainer]) -> None:
    batches = [trainer.next_rows() for trainer in trainers]
    tokens = [trainer.count_tokens(batch) for trainer, batch in zip(trainers, batches, strict=True)]
    rows = [_Row(owner, index) for owner, batch in enumerate(batches) for index in batch]
    for trainer, loss in zip(trainers, _backward_or_shrink(trainers, rows, tokens), strict=True):
        try:
            trainer.use_gradients(loss)
        except NonFinite as error:
            trainer.failure = error


@dataclass(frozen=True)
class _Row:
    """A train row of one configuration, both by their places."""

    owner: int
    index: int


def _backward_or_shrink(trainers: Sequence[Trainer], rows: Sequence[_Row], tokens: Sequence[int]) -> list[float]:
    """One gradient for every configuration; on lack of memory fewer rows run at once."""
    while True:
        for trainer in trainers:
            trainer.clear_gradients()
        try:
            return _backward(trainers, rows, tokens)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if all(trainer.micro_size <= 1 for trainer in trainers):
                raise OutOfMemory(
                    f"One row of each of {len(trainers)} configurations does not fit into memory at once. "
                    "Try fewer configurations, shorter rows or a smaller model."
                ) from error
        for trainer in trainers:
            trainer.micro_size = trainer.record.micro_batch_size = math.ceil(trainer.micro_size / 2)


def _backward(trainers: Sequence[Trainer], rows: Sequence[_Row], tokens: Sequence[int]) -> list[float]:
    """Losses of the configurations, mean over the label tokens of each one's batch; gradients are left in their parameters."""
    backbone = trainers[0].backbone
    with attention_for_gradients(backbone.model):
        prefixes = _Prefixes.run(trainers)
        shares = torch.tensor(tokens, dtype=torch.float32, device=backbone.device)
        leaves = [tensor for leaf in prefixes.leaves for tensor in leaf.tensors]
        total = torch.zeros(len(trainers), device=backbone.device)

        def losses_of(part: Sequence[_Row]) -> Tensor:
            return _losses(trainers, prefixes.leaves, part) / shares

        for parts in _parts(trainers, rows):
            for losses in add_gradients(losses_of, parts, leaves, backbone.device):
                total += losses
        prefixes.pull_back()
    return total.tolist()


def _losses(trainers: Sequence[Trainer], prefixes: Sequence[PrefixStates], part: Sequence[_Row]) -> Tensor:
    """[K] summed loss of each configuration's rows in this part (nats)."""
    backbone = trainers[0].backbone
    owners = [trainers[row.owner] for row in part]
    contexts = [owner.lines.contexts[row.index][len(owner.shared) :] for owner, row in zip(owners, part, strict=True)]
    answers = [owner.lines.answers[row.index] for owner, row in zip(owners, part, strict=True)]
    batch = line_batch(contexts, answers, LENGTH_STEP).to(backbone.device)
    logits = mixed_pass(backbone.model, PrefixRows(tuple(prefixes[row.owner] for row in part)), batch)
    each = nn.functional.cross_entropy(logits.float(), batch.targets, reduction="none")
    places = torch.tensor([row.owner for row, answer in zip(part, answers, strict=True) for _ in answer], device=each.device)
    return each.new_zeros(len(trainers)).index_add(0, places, each)


def _parts(trainers: Sequence[Trainer], rows: Sequence[_Row]) -> list[list[Sequence[_Row]]]:
    """The rows of all configurations in rounds of parts; the parts of a round run side by side, the longest rows first."""

    def length(row: _Row) -> int:
        return len(trainers[row.owner].lines.contexts[row.index]) - len(trainers[row.owner].shared)

    # Rows of like length stand together whosever they are, so that little is spent on padding.
    by_length = sorted(rows, key=lambda row: -length(row))
    most = sum(trainer.micro_size for trainer in trainers)
    rounds = [by_length[at : at + most] for at in range(0, len(by_length), most)]
    if trainers[0].backbone.device.type != "cpu":
        return [[each] for each in rounds]
    return [_cut(each, sum(map(length, each))) for each in rounds]


def _cut(rows: Sequence[_Row], tokens: int) -> list[Sequence[_Row]]:
    """Rows in parts that are small enough for a thread's caches, at least as many as there are threads where there are rows enough."""
    return cut(rows, max(torch.get_num_threads(), math.ceil(tokens / _PART_TOKENS)))


@dataclass(frozen=True)
class _Prefixes:
    """What stands in front of the rows of each configuration, run side by side.

    Args:
        made: states as they came out, [members, heads, P, head size] a layer, with the places of the configurations they belong to.
        leaves: per configuration, the same cut off from what made them, to collect gradients.
    """

    made: list[tuple[list[int], PrefixStates]]
    leaves: list[PrefixStates]

    @classmethod
    def run(cls, trainers: Sequence[Trainer]) -> "_Prefixes":
        """One pass for all configurations whose prefixes are equally long behind the same text."""
        virtuals = [trainer.tuning.virtual() for trainer in trainers]
        alike: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for place, (virtual, trainer) in enumerate(zip(virtuals, trainers, strict=True)):
            alike.setdefault((virtual.length, trainer.shared), []).append(place)
        model = trainers[0].backbone.model
        made = [(places, prefixes_of(model, [virtuals[at] for at in places], text)) for (_, text), places in alike.items()]
        cut = {place: states.only(at).as_leaf() for places, states in made for at, place in enumerate(places)}
        return cls(made, [cut[place] for place in range(len(trainers))])

    def pull_back(self) -> None:
        """Take the collected gradients through the prefixes into the learned parts."""
        tensors, gradients = [], []
        for places, states in self.made:
            for at, tensor in enumerate(states.tensors):
                if tensor.requires_grad:
                    leaves = [self.leaves[place].tensors[at] for place in places]
                    tensors.append(tensor)
                    gradients.append(torch.cat([torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]))
        torch.autograd.backward(tensors, gradients)

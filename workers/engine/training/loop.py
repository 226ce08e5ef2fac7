"""The one training loop, top to bottom. It knows token ids and a tuned part; where rows come from is not its business.

The shared prefix (learned vectors, template text) runs once a step. Its states are a leaf that collects the gradients of all
micro-batches; then one backward pass takes the sum through the prefix. Exact, since in a causal model the prefix does not depend
on the rows. The loss is a mean over the whole batch, so micro-batches do not change it.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workers.engine.answering.probe import gradient_reason
from workers.engine.answering.scoring import shared_ids
from workers.engine.contract.outcome import CurvePoint, LossPoint, Progress, Quality, TrainingRecord
from workers.engine.errors import BadSpec, NonFinite, OutOfMemory
from workers.engine.methods.tuned import Tuning
from workers.engine.model.backbone import Backbone
from workers.engine.model.families import sliding_reason
from workers.engine.model.model_probe import CANNOT_SHARE, dropout_reason
from workers.engine.model.runtime import is_out_of_memory
from workers.engine.passes.abreast import add_gradients, cut
from workers.engine.passes.batching import Lines, shuffled_batches
from workers.engine.passes.forward import attention_for_gradients
from workers.engine.passes.prefix import prefix_of
from workers.engine.training.checkpoints import load_checkpoint, save_checkpoint
from workers.engine.training.losses import row_loss_of
from workers.engine.training.trail import loss_added, thinned
from workers.engine.training.updates import load_optimizer, make_optimizer, optimizer_tensors, rate_at

_MAX_SKIPPED_IN_A_ROW = 3
_MOST_PARAMETERS_ABREAST = 10_000_000


@dataclass(frozen=True)
class Hooks:
    """What the loop asks of the outside: a look at the rows that choose the step, a sign of life, a reason to stop.

    Args:
        chosen_on: "validation" rows, or "inner" train rows that were set aside, whose scores must not pass for validation scores.
    """

    evaluate: Callable[[], Quality]
    on_progress: Callable[[Progress], None]
    check_stop: Callable[[], None]
    checkpoint_dir: Path | None = None
    checkpoint_seconds: float = 60.0
    resume: bool = False
    chosen_on: str = "validation"


class Trainer:
    """Trains one tuned part.

    Args:
        backbone: the frozen model, adapters active in its modules.
        tuning: the part that learns.
        lines: the rows.
        seed: order of the rows.
        hooks: the outside.
    """

    def __init__(self, backbone: Backbone, tuning: Tuning, lines: Lines, seed: int, hooks: Hooks) -> None:
        self.backbone, self.tuning, self.lines, self.seed, self.hooks = backbone, tuning, lines, seed, hooks
        self.options: dict[str, Any] = dict(tuning.recipe.options)
        self.parameters = tuning.parameters()
        self.masters = {name: p if p.dtype == torch.float32 else p.detach().float() for name, p in self.parameters.items()}
        self.optimizer = make_optimizer(self.masters.values(), self.options)
        self.peak_rate = tuning.learning_rate(backbone)
        self.batch_size = min(int(self.options["batch_size"]), len(lines))
        self.micro_size = min(int(self.options["micro_batch_size"]) or self.batch_size, self.batch_size)
        self.shared = shared_ids(lines.contexts)
        self.row_loss = row_loss_of(backbone, lines)
        self.record = TrainingRecord(micro_batch_size=self.micro_size)
        self.plain_reason: str | None = None
        self.step = 0
        self.best: Quality | None = None
        self.best_state = self._state()
        self._bad_steps, self._looks_without_gain = 0, 0
        self._recent_losses: list[float] = []
        self._saved_at = time.monotonic()
        self._batches: Iterator[list[int]] = iter(())
        self.failure: NonFinite | None = None

    def train(self) -> TrainingRecord:
        """Run all steps and leave the best candidate in place.

        Raises:
            RunStopped, TimeLimit: asked to stop; the last checkpoint stays.
            NonFinite: three steps in a row gave numbers that are not finite.
            OutOfMemory: not even a single row fits.
        """
        self.begin()
        self.go_on()
        return self.finish()

    def begin(self, like: "Trainer | None" = None) -> None:
        """Go to the last checkpoint where there is one, else look at the untrained start.

        Args:
            like: a trainer of the same method on the same model that has begun, so that the model is not asked again what it can share.
        """
        self.tuning.set_dropout(active=True)
        self.plain_reason = like.plain_reason if like else self._plain_reason()
        if not self._resume():
            self._look(train_loss=None)
        self._saved_at = time.monotonic()
        self._batches = shuffled_batches([len(row) for row in self.lines.contexts], self.batch_size, self.seed)
        for _ in range(self.step):
            next(self._batches)

    @property
    def has_ended(self) -> bool:
        return self.step >= int(self.options["max_steps"]) or self.record.stopped_early or self.failure is not None

    def go_on(self, until: int | None = None) -> None:
        """Take steps until there are this many, or until training ends."""
        while not self.has_ended and (until is None or self.step < until):
            self.hooks.check_stop()
            started = time.perf_counter()
            self._take_step(self.next_rows())
            self.end_step(time.perf_counter() - started)

    def next_rows(self) -> list[int]:
        """Rows of the coming step."""
        return next(self._batches)

    def end_step(self, seconds: float) -> None:
        """Count a step that was taken, look at the validation rows and keep a checkpoint when it is time.

        Args:
            seconds: what the step took.
        """
        self.step += 1
        self.record.train_seconds += seconds
        self._note_loss()
        self._report()
        if self.step % int(self.options["evaluate_every"]) == 0 or self.step == int(self.options["max_steps"]):
            self._look(train_loss=self._mean_recent_loss())
        if time.monotonic() - self._saved_at >= self.hooks.checkpoint_seconds:
            self.save()

    def finish(self) -> TrainingRecord:
        """Put the best candidate in place."""
        self.tuning.set_dropout(active=False)
        self._restore(self.best_state)
        self.record.steps = self.step
        return self.record

    def loss_and_gradients(self, indices: Sequence[int], plain: bool) -> tuple[float, list[Tensor]]:
        """Loss of one batch and the gradient of every trained parameter, without an update.

        Args:
            indices: rows of the batch.
            plain: run whole sequences instead of sharing the prefix.
        """
        self.clear_gradients()
        loss = self._backward(indices, plain)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.parameters.values()]
        self.clear_gradients()
        return loss, gradients

    def _take_step(self, indices: Sequence[int]) -> None:
        self.count_tokens(indices)
        self.clear_gradients()
        self.use_gradients(self._backward_or_shrink(indices))

    def use_gradients(self, loss: float) -> None:
        """One update by the gradients that the parameters hold; a step whose numbers are not finite is skipped.

        Raises:
            NonFinite: it was the third one in a row.
        """
        for name, parameter in self.parameters.items():
            if self.masters[name] is not parameter and parameter.grad is not None:
                self.masters[name].grad = parameter.grad.float()
        norm = nn.utils.clip_grad_norm_(self.masters.values(), float(self.options["clip_norm"]) or math.inf)
        if not math.isfinite(loss) or not bool(torch.isfinite(norm)):
            self._skip_step()
            return
        self._bad_steps = 0
        self._recent_losses.append(loss)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.peak_rate, self.options)
        self.optimizer.step()
        self._restore(self.masters)

    def clear_gradients(self) -> None:
        """Forget the gradients of the last step."""
        for tensor in (*self.parameters.values(), *self.masters.values()):
            tensor.grad = None

    def _skip_step(self) -> None:
        self.record.skipped_steps += 1
        self._bad_steps += 1
        if self._bad_steps >= _MAX_SKIPPED_IN_A_ROW:
            self._restore(self.best_state)
            raise NonFinite(
                f"Training broke down at step {self.step + 1}: {self._bad_steps} steps in a row gave numbers that are not finite. "
                f"Lower learning_rate ({self.options['learning_rate']:g}); the best candidate is of step {self.record.best_step}."
            )

    def _backward_or_shrink(self, indices: Sequence[int]) -> float:
        """One gradient of the whole batch; on lack of memory the micro-batch is halved, the batch stays."""
        while True:
            try:
                return self._backward(indices, plain=self.plain_reason is not None)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.micro_size <= 1:
                    raise OutOfMemory("Not even one row fits into memory for training. Shorten the rows or use a smaller model.") from error
            self.clear_gradients()
            self.micro_size = math.ceil(self.micro_size / 2)
            self.record.micro_batch_size = self.micro_size

    def _backward(self, indices: Sequence[int], plain: bool) -> float:
        weight = self.row_loss.weight(indices)
        micro = [indices[at : at + self.micro_size] for at in range(0, len(indices), self.micro_size)]
        run = self._plain_losses if plain else self._shared_losses
        with attention_for_gradients(self.backbone.model):
            own = self.tuning.own_loss()
            if own is None:
                return run(micro, weight)
            # The mean is over the label tokens of the batch and those that every row brings along.
            weight += len(indices) * own.tokens
            loss = own.total * (len(indices) / weight)
            torch.autograd.backward([loss])
            return run(micro, weight) + float(loss.detach())

    def count_tokens(self, indices: Sequence[int]) -> int:
        """Write down what a batch holds; returns its label tokens."""
        self.record.label_tokens += (label_tokens := self.lines.label_tokens(indices))
        self.record.row_tokens += sum(len(self.lines.contexts[index]) for index in indices)
        return label_tokens

    def _shared_losses(self, micro: Sequence[Sequence[int]], weight: int) -> float:
        prefix = prefix_of(self.backbone.model, self.tuning.virtual(), self.shared)
        leaf = prefix.as_leaf() if prefix else None

        def loss_of(indices: Sequence[int]) -> Tensor:
            return self.row_loss.shared(indices, len(self.shared), leaf) / weight

        total = sum(self._add_gradients(indices, loss_of, leaf.tensors if leaf else ()) for indices in micro)
        if prefix and leaf:
            pairs = [(made, cut.grad) for made, cut in zip(prefix.tensors, leaf.tensors, strict=True) if made.requires_grad]
            pairs = [pair for pair in pairs if pair[1] is not None]
            if pairs:
                torch.autograd.backward([made for made, _ in pairs], [gradient for _, gradient in pairs])
        return total

    def _plain_losses(self, micro: Sequence[Sequence[int]], weight: int) -> float:
        def loss_of(indices: Sequence[int]) -> Tensor:
            return self.row_loss.plain(indices, self.tuning.virtual()) / weight

        return sum(self._add_gradients(indices, loss_of, ()) for indices in micro)

    def _add_gradients(self, indices: Sequence[int], loss_of: Callable[[Sequence[int]], Tensor], leaves: Sequence[Tensor]) -> float:
        """Loss of some rows, its gradients added to the leaves and the parameters."""
        losses = add_gradients(loss_of, self._parts(indices), [*leaves, *self.parameters.values()], self.backbone.device)
        return sum(map(float, losses))

    def _parts(self, indices: Sequence[int]) -> list[Sequence[int]]:
        """The rows cut into parts that run side by side, or all of them as one."""
        # Dropout draws from one stream of random numbers, whose order must not vary.
        can = self.backbone.device.type == "cpu" and not self.options.get("dropout")
        if not can or sum(parameter.numel() for parameter in self.parameters.values()) > _MOST_PARAMETERS_ABREAST:
            return [indices]
        return cut(indices, torch.get_num_threads())

    def _plain_reason(self) -> str | None:
        """Why rows must not share a prefix in training, or None: asked of the model on two rows."""
        longest = max(map(len, self.lines.contexts)) + self.lines.longest_answer + self.tuning.virtual().length
        reason = dropout_reason(self.backbone.model) or self.backbone.plain_reason or sliding_reason(self.backbone.sliding, longest)
        if reason:
            return reason
        if not self.shared and not self.tuning.is_prompt:
            return None
        rows = list(range(min(2, len(self.lines))))
        try:
            return self._reason_on(rows)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        return self._reason_on(rows[:1])

    def _reason_on(self, rows: Sequence[int]) -> str | None:
        try:
            shared = self.loss_and_gradients(rows, plain=False)
        except CANNOT_SHARE as error:
            if is_out_of_memory(error):
                raise
            return f"this model cannot train behind a shared prefix ({type(error).__name__})"
        return gradient_reason(self.backbone.dtype, shared, self.loss_and_gradients(rows, plain=True))

    def _look(self, train_loss: float | None) -> None:
        """Score the rows that choose with the present candidate; keep it when it is the best so far."""
        started = time.perf_counter()
        self.tuning.set_dropout(active=False)
        quality = self.hooks.evaluate()
        self.tuning.set_dropout(active=True)
        self.record.evaluation_seconds += time.perf_counter() - started
        if quality.beats(self.best):
            self.best, self.best_state, self.record.best_step = quality, self._state(), self.step
            self._looks_without_gain = 0
        else:
            self._looks_without_gain += 1
        patience = int(self.options["patience"])
        self.record.stopped_early = 0 < patience <= self._looks_without_gain
        scores = {self.hooks.chosen_on + "_accuracy": quality.accuracy, self.hooks.chosen_on + "_loss": quality.loss}
        self.record.curve.append(CurvePoint(self.step, train_loss, self.record.train_seconds, **scores))
        self._report()

    def _note_loss(self) -> None:
        """Lay down the loss of the step just taken; a skipped step left none."""
        if self._recent_losses and not self._bad_steps:
            self.record.losses = loss_added(self.record.losses, LossPoint(self.step, self.record.train_seconds, self._recent_losses[-1]))

    def _mean_recent_loss(self) -> float | None:
        losses, self._recent_losses = self._recent_losses, []
        return sum(losses) / len(losses) if losses else None

    def _report(self) -> None:
        metrics: dict[str, float | None] = {"train_loss": self._recent_losses[-1] if self._recent_losses else None}
        if self.record.curve:
            fields = [f"{self.hooks.chosen_on}_{what}" for what in ("accuracy", "loss")]
            metrics |= {field: getattr(self.record.curve[-1], field) for field in fields}
        curve, losses = thinned(self.record.curve), tuple(self.record.losses)
        steps = int(self.options["max_steps"])
        self.hooks.on_progress(Progress("training", step=self.step, steps=steps, metrics=metrics, curve=curve, losses=losses))

    def _state(self) -> dict[str, Tensor]:
        return {name: master.detach().clone() for name, master in self.masters.items()}

    def _restore(self, state: dict[str, Tensor]) -> None:
        """Set masters and, rounded to their dtype, the parameters that the model computes with."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                for kept in {id(t): t for t in (self.masters[name], parameter)}.values():
                    if kept is not state[name]:
                        kept.copy_(state[name])

    def save(self) -> None:
        """Keep a checkpoint where there is a place for it."""
        self._saved_at = time.monotonic()
        if self.hooks.checkpoint_dir is None:
            return
        tensors = {f"now/{name}": tensor for name, tensor in self._state().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best_state.items()}
        tensors |= optimizer_tensors(self.optimizer)
        facts = {
            "record": asdict(self.record),
            "best": None if self.best is None else asdict(self.best),
            "looks_without_gain": self._looks_without_gain,
            "bad_steps": self._bad_steps,
            "recent_losses": self._recent_losses,
            "micro_size": self.micro_size,
        }
        save_checkpoint(self.hooks.checkpoint_dir, self.step, tensors, facts)

    def _resume(self) -> bool:
        """Go on from the last checkpoint when the run asks for it and one is there."""
        if not self.hooks.resume or self.hooks.checkpoint_dir is None:
            return False
        found = load_checkpoint(self.hooks.checkpoint_dir)
        if found is None:
            return False
        step, tensors, facts = found
        if any(f"now/{name}" not in tensors for name in self.parameters):
            raise BadSpec("The checkpoint belongs to another recipe. Start this run without resuming.")
        self._restore({name: tensors[f"now/{name}"] for name in self.parameters})
        self.best_state = {name: tensors[f"best/{name}"].to(p.device) for name, p in self.parameters.items()}
        load_optimizer(self.optimizer, tensors)
        self.step, self.micro_size = step, facts["micro_size"]
        self.record = TrainingRecord.from_json(facts["record"])
        self.record.resumed_from = step
        self.best = Quality(**facts["best"]) if facts["best"] else None
        self._looks_without_gain, self._bad_steps = facts["looks_without_gain"], facts["bad_steps"]
        self._recent_losses = facts["recent_losses"]
        return True

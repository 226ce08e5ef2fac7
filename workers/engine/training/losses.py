"""What training holds a row's answer to: the tokens of one answer, or what a teacher thinks of every label. Knows token ids, no files."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workers.engine.answering.scoring import Scorer, label_scores
from workers.engine.model.backbone import Backbone
from workers.engine.passes.batching import Batch, Lines, SoftTargets, line_batch
from workers.engine.passes.forward import plain_pass, shared_pass
from workers.engine.passes.prefix import PrefixStates, Virtual

# Few distinct lengths mean few distinct shapes, so that memory once touched is used again; coarser steps cost more in pads.
LENGTH_STEP = 2


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far the student's distribution over the labels is from the teacher's, summed over rows (nats).

    The cross-entropy of both at a temperature; it differs from their Kullback-Leibler divergence by the teacher's own entropy, which
    no step can change. The square of the temperature keeps gradients as large as they are at a temperature of 1.

    Args:
        student: [B, C] log-likelihoods of the labels, differentiable.
        teacher: [B, C] the teacher's for the same rows and labels.
    Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network (arXiv 1503.02531), section 2. A written prompt put into
    learned parameters by it: Snell et al. 2022, Learning by Distilling Context (arXiv 2209.15189).
    """
    wanted = (teacher / temperature).softmax(-1)
    return -(wanted * (student / temperature).log_softmax(-1)).sum() * temperature**2


class RowLoss(ABC):
    """The part of the loss that rows make, as sums over rows; `weight` says what to divide them by."""

    @abstractmethod
    def weight(self, indices: Sequence[int]) -> int:
        """What the sum over these rows is the sum of."""

    @abstractmethod
    def shared(self, indices: Sequence[int], start: int, prefix: PrefixStates | None) -> Tensor:
        """Loss of rows behind a prefix that was run already.

        Args:
            start: how many ids of each row the prefix holds.
        """

    @abstractmethod
    def plain(self, indices: Sequence[int], virtual: Virtual) -> Tensor:
        """Loss of whole rows, each run from its first token."""


class AnswerLoss(RowLoss):
    """The negative log-likelihood of each row's answer, token by token."""

    def __init__(self, backbone: Backbone, lines: Lines) -> None:
        self.backbone, self.lines = backbone, lines

    def weight(self, indices: Sequence[int]) -> int:
        return self.lines.label_tokens(indices)

    def shared(self, indices: Sequence[int], start: int, prefix: PrefixStates | None) -> Tensor:
        batch = self._batch(indices, start)
        return self._sum(shared_pass(self.backbone.model, prefix, batch), batch)

    def plain(self, indices: Sequence[int], virtual: Virtual) -> Tensor:
        batch = self._batch(indices, 0)
        return self._sum(plain_pass(self.backbone.model, virtual, batch), batch)

    def _sum(self, logits: Tensor, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(logits.float(), batch.targets, reduction="sum")

    def _batch(self, indices: Sequence[int], start: int) -> Batch:
        rows = [self.lines.contexts[index][start:] for index in indices]
        return line_batch(rows, [self.lines.answers[index] for index in indices], LENGTH_STEP).to(self.backbone.device)


class SoftTargetLoss(RowLoss):
    """The distance of each row's distribution over the labels from the teacher's; all labels are scored as they are everywhere else."""

    def __init__(self, backbone: Backbone, lines: Lines, targets: SoftTargets) -> None:
        self.backbone, self.lines, self.targets = backbone, lines, targets

    def weight(self, indices: Sequence[int]) -> int:
        return len(indices)

    def shared(self, indices: Sequence[int], start: int, prefix: PrefixStates | None) -> Tensor:
        rows = [self.lines.contexts[index][start:] for index in indices]
        return self._sum(Scorer(self.backbone, self.targets.trie).tree_scores(rows, prefix), indices)

    def plain(self, indices: Sequence[int], virtual: Virtual) -> Tensor:
        rows = [self.lines.contexts[index] for index in indices]
        return self._sum(Scorer(self.backbone, self.targets.trie, virtual).line_scores(rows), indices)

    def _sum(self, answers: Tensor, indices: Sequence[int]) -> Tensor:
        student = label_scores(answers, self.targets.trie)
        teacher = self.targets.loglikelihoods[torch.tensor(indices)].to(student)
        return soft_target_loss(student, teacher, self.targets.temperature)


def row_loss_of(backbone: Backbone, lines: Lines) -> RowLoss:
    """The loss that these rows are trained by."""
    return AnswerLoss(backbone, lines) if lines.soft is None else SoftTargetLoss(backbone, lines, lines.soft)

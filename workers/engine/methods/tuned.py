"""What a tuned part is to the rest of the engine: parameters that learn, what stands in front of a row, files, and a way off the model.

Knows no library that makes tuned parts; `tuning` (PEFT), `bottleneck` and `full` each make theirs.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from workers.engine.contract.recipes import EMBEDDING_RMS, METHODS
from workers.engine.contract.spec import Recipe
from workers.engine.model.backbone import Backbone
from workers.engine.passes.prefix import Virtual


@dataclass(frozen=True)
class OwnLoss:
    """What a learned part is held to besides the rows' answers, once for each row of a batch.

    Args:
        total: sum of the weighted losses (nats), differentiable.
        tokens: how many tokens it is the loss of.
    """

    total: Tensor
    tokens: int


@dataclass
class Tuning(ABC):
    """A tuned part on a backbone, in training or ready for use."""

    recipe: Recipe
    warnings: list[str] = field(default_factory=list)

    @property
    def is_prompt(self) -> bool:
        """True when the learned part stands in front of the row, False when it sits inside the model's modules."""
        return False

    def virtual(self) -> Virtual:
        """The learned part in front of a row as it is now, differentiable during training."""
        return Virtual()

    @abstractmethod
    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name; everything else is frozen."""

    @abstractmethod
    def trained(self) -> list[nn.Parameter]:
        """Parameters that belong to the tuned part, trainable now or frozen after loading."""

    def learning_rate(self, backbone: Backbone) -> float:
        """Absolute step size; some methods give theirs as a multiple of the typical embedding coordinate."""
        rate = float(self.recipe.options["learning_rate"])  # type: ignore[arg-type]
        if self.recipe.options.get("optimizer") == "adafactor":
            return rate
        is_relative = METHODS[self.recipe.method].options["learning_rate"].unit == EMBEDDING_RMS
        return rate * backbone.embedding_rms() if is_relative else rate

    def set_dropout(self, active: bool) -> None:
        """Switch the tuned part's own dropout; the frozen model's stays off always."""
        del active

    def own_loss(self) -> OwnLoss | None:
        """The part of the loss that does not depend on the rows, or None."""
        return None

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Leave the tuned part's own files in an empty folder."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything another training needs to go on from here, by name, as `write` leaves it."""

    @abstractmethod
    def take(self, state: dict[str, Tensor]) -> None:
        """Start from the state of another tuned part, whose names and shapes are the same."""

    @abstractmethod
    def remove(self) -> None:
        """Take the tuned part off the backbone."""

"""What a latency pass is asked, as a frozen dataclass that reads and writes JSON. Standard library only."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from workers.engine.contract.spec import RunSpec


@dataclass(frozen=True)
class LatencySpec:
    """What a latency pass is asked.

    Args:
        runs: one an approach, told apart by their ids; each names one file of rows, and its tuned part where it has one.
        requests: how many requests each approach answers; rows are asked again when there are fewer.
        patience_seconds: how long a busy machine is waited for before the pass gives up.
    """

    runs: tuple[RunSpec, ...]
    requests: int = 200
    patience_seconds: float = 15.0

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON types."""
        return {**asdict(self), "runs": [run.to_json() for run in self.runs]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """A spec from what `to_json` gave."""
        return cls(**{**value, "runs": tuple(RunSpec.from_json(run) for run in value["runs"])})

"""What was tried and how it did, a line each as soon as it is known, so that nothing measured is lost. Standard library only."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workers.engine.contract.spec import FileRef

TRIALS = "trials.jsonl"


@dataclass
class Look:
    """What a candidate has shown so far.

    Args:
        rung: the round that it was looked at in, from 0; of a training, how many looks there were before.
        rows: validation rows that it has answered, all rounds together; of a training, those of one look.
        correct: how many of them rightly; None where answers are free text.
        loss: mean negative log-likelihood of the right answer, among the labels where there are labels (nats).
        tokens: mean context tokens of a row.
        seconds: time of all its rounds.
        problem: why it cannot be tried.
        step: of a training, steps until the look.
    """

    number: int
    name: str
    sha256: str
    config: dict[str, Any]
    rung: int = 0
    rows: int = 0
    correct: int | None = None
    loss: float | None = None
    tokens: float | None = None
    seconds: float = 0.0
    problem: str = ""
    step: int | None = None

    @property
    def rank(self) -> tuple[float, float, float, int]:
        """Sorts better candidates first: more right answers, then less loss, then fewer tokens, then the earlier one."""
        correct = (self.correct or 0) / max(1, self.rows)
        return (-correct, self.loss if self.loss is not None else float("inf"), self.tokens or 0.0, self.number)


@dataclass
class Journal:
    """Looks on disk, a line each, and those of earlier attempts."""

    path: Path
    known: dict[tuple[int, int], Look] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, earlier: FileRef | None) -> "Journal":
        """A journal that begins anew and knows what earlier attempts measured."""
        path.unlink(missing_ok=True)
        journal = cls(path)
        if earlier is not None:
            for line in Path(earlier.path).read_text(encoding="utf-8").splitlines():
                look = Look(**json.loads(line))
                journal.known[look.number, look.rung] = look
        return journal

    def recall(self, number: int, sha256: str, rung: int, rows: int) -> Look | None:
        """An earlier look at the same words on the same rows."""
        look = self.known.get((number, rung))
        return look if look and look.sha256 == sha256 and (look.rows == rows or look.problem) else None

    def write(self, look: Look) -> None:
        """Keep a look before the next one begins."""
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(look), ensure_ascii=False) + "\n")

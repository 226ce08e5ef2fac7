"""What a search for a prompt by DSPy asks of the world, and what it writes down: one prompt on one row, one text, one look.

Standard library only, so that a worker which asks an endpoint needs no model library. DSPy itself is known to `by_dspy` alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from workers.engine.contract.spec import Item
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.search.candidate import Candidate, hash_of

MEMORY = "memory.jsonl"
WITHOUT_DSPY = (
    "This search needs DSPy, an extra that is not installed where the workers run. Install it with "
    "`pip install --no-deps --require-hashes -r requirements-dspy.lock`, or leave this approach out."
)
Message = Mapping[str, str]


@dataclass(frozen=True)
class Said:
    """A prompt's answer to one row.

    Args:
        score: how good it is, 0 to 1; a label is right or wrong, free text may be close.
        loss: negative log-likelihood of the right answer (nats); None where it is not known.
    """

    text: str
    right: bool
    score: float
    tokens: float = 0.0
    seconds: float = 0.0
    loss: float | None = None


class Model(Protocol):
    """The model that answers rows and writes instructions."""

    def answer(self, template: TemplateSpec, item: Item) -> Said:
        """One prompt on one row: one evaluation."""

    def write(self, messages: Sequence[Message], most_tokens: int, temperature: float) -> str:
        """Free text after a conversation; each message has a role and its content."""


@dataclass
class Tally:
    """What a candidate has answered: validation rows, by which it is chosen, and train rows, by which DSPy improves it."""

    candidate: Candidate
    validation: dict[str, Said] = field(default_factory=dict)
    train: dict[str, Said] = field(default_factory=dict)
    told: int = 0

    @property
    def seen(self) -> int:
        """Rows that it has answered in all."""
        return len(self.validation) + len(self.train)

    def look(self) -> dict[str, Any]:
        """The line of the journal; its sums are over validation rows."""
        said = list(self.validation.values())
        losses = [each.loss for each in said if each.loss is not None]
        name = self.candidate.name + (f", {len(self.train)} train rows first" if self.train and not said else "")
        return {
            "number": self.candidate.number,
            "name": name,
            "sha256": self.candidate.sha256,
            "config": self.candidate.wording(),
            "rung": 0,
            "rows": len(said),
            "correct": sum(each.right for each in said),
            "loss": sum(losses) / len(losses) if losses and len(losses) == len(said) else None,
            "tokens": sum(each.tokens for each in said) / len(said) if said else None,
            "seconds": sum(each.seconds for each in (*said, *self.train.values())),
            "problem": "",
        }

    @property
    def rank(self) -> tuple[float, float, float, int]:
        """Sorts better candidates first, as the search by rule does."""
        look = self.look()
        loss = look["loss"] if look["loss"] is not None else float("inf")
        return (-look["correct"] / max(1, look["rows"]), loss, look["tokens"] or 0.0, look["number"])


@dataclass
class Memory:
    """What the model said before, on disk: DSPy asks the same again when a search is run again with its seed, and then goes on.

    Args:
        path: JSON lines; None remembers nothing beyond this attempt.
    """

    path: Path | None
    known: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: str | None) -> "Memory":
        """The memory in a folder, with what an earlier attempt left there. A torn last line is left out."""
        if folder is None:
            return cls(None)
        memory = cls(Path(folder) / MEMORY)
        Path(folder).mkdir(parents=True, exist_ok=True)
        lines = memory.path.read_text(encoding="utf-8").splitlines(keepends=True) if memory.path and memory.path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        memory.known = dict(json.loads(line) for line in whole)
        if len(whole) < len(lines):
            (Path(folder) / MEMORY).write_text("".join(whole), encoding="utf-8")
        return memory

    def recall(self, asked: Any, ask: Callable[[], Any]) -> Any:
        """What was said to this before, else what is said now.

        Args:
            asked: plain JSON that decides the answer.
            ask: gives plain JSON.
        """
        key = hash_of(asked)
        if key not in self.known:
            self.known[key] = ask()
            if self.path:
                with self.path.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps([key, self.known[key]], ensure_ascii=False) + "\n")
        return self.known[key]


@dataclass
class JournalFile:
    """Looks on disk, a line each, for whoever stores them while the search goes on. Begins anew with each attempt."""

    path: Path

    def __post_init__(self) -> None:
        self.path.unlink(missing_ok=True)

    def write(self, look: Mapping[str, Any]) -> None:
        """Keep a look before the next one begins."""
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(look, ensure_ascii=False) + "\n")

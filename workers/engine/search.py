"""Searches for a better prompt: candidates by rule, successive halving on growing parts of the validation rows. Test rows are never read.

Every look at a candidate is written down at once, so that a search that was stopped goes on where it was.
"""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from workers.engine.backbone import Backbone
from workers.engine.candidates import Candidate, candidates_of
from workers.engine.errors import BadData, BadSpec
from workers.engine.frame import Frame
from workers.engine.halving import Rung, plan_rungs
from workers.engine.outcome import Progress, TrainingRecord
from workers.engine.prefix import NO_VIRTUAL
from workers.engine.probe import scoring_reason
from workers.engine.rows import read_rows
from workers.engine.run import Run
from workers.engine.scoring import Scorer, line_scores
from workers.engine.spec import FileRef, Item

TRIALS = "trials.jsonl"


@dataclass
class Look:
    """What a candidate has shown so far.

    Args:
        rung: the round that it was looked at in, from 0.
        rows: validation rows that it has answered, all rounds together.
        correct: how many of them rightly; None where answers are free text.
        loss: mean negative log-likelihood of the right answer, among the labels where there are labels (nats).
        tokens: mean context tokens of a row.
        seconds: time of all its rounds.
        problem: why it cannot be tried.
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

    @property
    def rank(self) -> tuple[float, float, float, int]:
        """Sorts better candidates first: more right answers, then less loss, then fewer tokens, then the earlier one."""
        correct = (self.correct or 0) / max(1, self.rows)
        return (-correct, self.loss if self.loss is not None else float("inf"), self.tokens or 0.0, self.number)


@dataclass(frozen=True)
class Found:
    """The end of a search."""

    winner: Candidate
    record: TrainingRecord
    facts: dict[str, Any]


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

    def recall(self, candidate: Candidate, rung: int, rows: int) -> Look | None:
        """An earlier look at the same words on the same rows."""
        look = self.known.get((candidate.number, rung))
        return look if look and look.sha256 == candidate.sha256 and (look.rows == rows or look.problem) else None

    def write(self, look: Look) -> None:
        """Keep a look before the next one begins."""
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(look), ensure_ascii=False) + "\n")


def search_prompt(run: Run, backbone: Backbone) -> Found:
    """The best prompt that the budget finds; the written one where nothing beats it.

    Raises:
        BadSpec, BadData: the written prompt itself cannot be used, or there are no rows to choose on.
    """
    spec = run.spec
    assert spec.train is not None, "the spec refuses a search without train rows"
    assert spec.validation is not None, "the spec refuses a search without validation rows"
    rows = read_rows(spec.validation, spec.labels, spec.max_rows)
    random.Random(int(spec.recipe.options["draw_seed"])).shuffle(rows)  # type: ignore[arg-type]  # noqa: S311
    written = Frame(spec, backbone)
    candidates = candidates_of(spec, read_rows(spec.train, spec.labels, spec.max_rows), written.is_chat)
    rungs = plan_rungs(int(spec.recipe.options["budget"]), len(rows), len(candidates))  # type: ignore[arg-type]
    search = _Search(run, backbone, rows, Journal.open(run.out / TRIALS, spec.trials), rungs)
    search.plain_reason = sharing_reason(written, rows)
    return search.climb(candidates[: rungs[0].candidates])


def sharing_reason(frame: Frame, rows: Sequence[Item]) -> str | None:
    """Why rows must be run whole on this model, or None; tried on two rows, for the answer belongs to the model, not to the words."""
    if frame.backbone.plain_reason or frame.trie is None:
        return frame.backbone.plain_reason
    ids = [row.ids for row in frame.encode(rows[:2]) if row.error is None]
    return scoring_reason(Scorer(frame.backbone, frame.trie), ids) if ids else None


@dataclass
class _Search:
    run: Run
    backbone: Backbone
    rows: list[Item]
    journal: Journal
    rungs: list[Rung]
    plain_reason: str | None = None
    spent: int = 0
    looks: dict[int, Look] = field(default_factory=dict)

    def climb(self, candidates: Sequence[Candidate]) -> Found:
        """All rounds; the written prompt goes through every one."""
        alive = list(candidates)
        for place, rung in enumerate(self.rungs):
            for candidate in alive:
                self._look(candidate, place, rung)
            usable = [each for each in alive if not self.looks[each.number].problem]
            if place + 1 < len(self.rungs):
                alive = self._best(usable, self.rungs[place + 1].candidates)
        winner = min(usable, key=lambda each: self.looks[each.number].rank)
        return Found(winner, self._record(), self._facts(candidates, winner))

    def _best(self, usable: Sequence[Candidate], count: int) -> list[Candidate]:
        ranked = sorted(usable, key=lambda each: self.looks[each.number].rank)[:count]
        if not any(each.number == 0 for each in ranked):
            ranked[-1] = next(each for each in usable if each.number == 0)
        return ranked

    def _look(self, candidate: Candidate, place: int, rung: Rung) -> None:
        before = self.looks.get(candidate.number)
        look = self.journal.recall(candidate, place, rung.rows)
        if look is None:
            look = Look(candidate.number, candidate.name, candidate.sha256, candidate.wording())
            if before:
                look = replace(before)
            look.rung = place
            self._judge(candidate, look, self.rows[look.rows : rung.rows])
        self.spent += look.rows - (before.rows if before else 0)
        self.looks[candidate.number] = look
        self.journal.write(look)
        self._report(0)

    def _judge(self, candidate: Candidate, look: Look, rows: Sequence[Item]) -> None:
        """Let a candidate answer more rows and add them to its look."""
        started = time.perf_counter()
        try:
            frame = Frame(replace(self.run.spec, template=candidate.template, answer_words=candidate.answer_words), self.backbone)
            right, loss, tokens = self._answers(frame, rows)
        except (BadSpec, BadData) as error:
            if candidate.number == 0:
                raise
            look.problem = error.message
            return
        seen = look.rows + len(rows)
        look.correct = None if right is None else (look.correct or 0) + right
        look.loss = ((look.loss or 0.0) * look.rows + loss) / seen
        look.tokens = ((look.tokens or 0.0) * look.rows + tokens) / seen
        look.rows = seen
        look.seconds += time.perf_counter() - started

    def _answers(self, frame: Frame, rows: Sequence[Item]) -> tuple[int | None, float, float]:
        """Right answers, and sums of loss and tokens. A row that does not fit counts as wrong, with the loss of a blind guess."""
        if frame.room() < 1:
            raise BadSpec("The prompt leaves no room for a row.")
        encoded = frame.encode(rows)
        usable = [row for row in encoded if row.error is None]
        tokens = float(sum(len(row.ids) for row in usable))
        contexts = [row.ids for row in usable]
        if frame.trie is None:
            answers = [frame.answer_ids(row.item.label) for row in usable]
            found = line_scores(self.backbone, NO_VIRTUAL, contexts, answers, plain=bool(self.plain_reason))
            self._report(len(rows))
            return None, -float(found.sum()), tokens
        blind = (len(encoded) - len(usable)) * float(torch.tensor(float(len(frame.spec.labels))).log())
        if not usable:
            return 0, blind, tokens
        scorer = Scorer(self.backbone, frame.trie, plain_reason=self.plain_reason, on_rows=self._report)
        scores = scorer.score(contexts).labels.double().log_softmax(1)
        expected = torch.tensor([frame.spec.labels.index(row.item.label) for row in usable])
        loss = -float(scores.gather(1, expected[:, None]).sum()) + blind
        return int((scores.argmax(1) == expected).sum()), loss, tokens

    def _report(self, done: int) -> None:
        budget = int(self.run.spec.recipe.options["budget"])  # type: ignore[arg-type]
        best = min(self.looks.values(), key=lambda look: look.rank, default=None)
        metrics = {"validation_accuracy": best.correct / best.rows} if best and best.rows and best.correct is not None else {}
        self.run.report(Progress("searching", step=self.spent + done, steps=budget, metrics=dict(metrics)))

    def _record(self) -> TrainingRecord:
        seconds = sum(look.seconds for look in self.looks.values())
        return TrainingRecord(train_seconds=seconds, validation_source=f"{self.rungs[-1].rows} rows of the validation file")

    def _facts(self, candidates: Sequence[Candidate], winner: Candidate) -> dict[str, Any]:
        final, written = self.looks[winner.number], self.looks[0]
        return {
            "search": {
                "budget": self.run.spec.recipe.options["budget"],
                "spent": self.spent,
                "num_candidates": len(candidates),
                "num_refused": sum(bool(look.problem) for look in self.looks.values()),
                "rungs": [asdict(rung) for rung in self.rungs],
                "validation_rows": self.rungs[-1].rows,
                "seconds": sum(look.seconds for look in self.looks.values()),
                "winner": winner.number,
                "winner_name": winner.name,
                "wording": winner.wording(),
                "winner_correct": final.correct,
                "winner_loss": final.loss,
                "written_correct": written.correct,
                "written_loss": written.loss,
            }
        }

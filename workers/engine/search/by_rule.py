"""Searches for a better prompt: candidates by rule, successive halving on growing parts of the validation rows. Test rows are never read.

Every look at a candidate is written down at once, so that a search that was stopped goes on where it was.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from workers.engine.answering.probe import scoring_reason
from workers.engine.answering.scoring import Scorer, line_scores
from workers.engine.contract.outcome import Progress, TrainingRecord
from workers.engine.contract.spec import Item, RunSpec
from workers.engine.errors import BadData, BadSpec
from workers.engine.figures.halving import Rung, cost_of, plan_rungs
from workers.engine.journal import TRIALS, Journal, Look
from workers.engine.model.backbone import Backbone
from workers.engine.passes.prefix import NO_VIRTUAL
from workers.engine.prompts.frame import Frame
from workers.engine.rows import read_rows
from workers.engine.run import Run
from workers.engine.search.candidate import Candidate
from workers.engine.search.candidates import candidates_of


@dataclass(frozen=True)
class Found:
    """The end of a search."""

    winner: Candidate
    record: TrainingRecord
    facts: dict[str, Any]


def search_prompt(run: Run, backbone: Backbone) -> Found:
    """The best prompt that the budget finds; the written one where nothing beats it.

    Raises:
        BadSpec, BadData: the written prompt itself cannot be used, or there are no rows to choose on.
    """
    spec = run.spec
    assert spec.train is not None, "the spec refuses a search without train rows"
    is_chat = Frame(spec, backbone).is_chat
    return best_of(run, backbone, candidates_of(spec, read_rows(spec.train, spec.labels, spec.max_rows), is_chat), _budget(spec))


def best_of(run: Run, backbone: Backbone, candidates: Sequence[Candidate], budget: int) -> Found:
    """The best of some prompts on the validation rows; the first is the one as written.

    Args:
        budget: evaluations that may be spent; one is one prompt on one row. 0 spends what it takes for the last round to
            have all rows.
    Raises:
        BadSpec, BadData: the first prompt cannot be used, or there are no rows to choose on.
    """
    spec = run.spec
    written = Frame(replace(spec, template=candidates[0].template, answer_words=candidates[0].answer_words), backbone)
    rows = _rows_to_choose_on(run, written)
    random.Random(int(spec.recipe.options.get("draw_seed") or 0)).shuffle(rows)  # type: ignore[arg-type]  # noqa: S311
    # The last round has at most a quarter of a budget, so this much lets it have all rows.
    rungs = plan_rungs(budget or max(4, len(candidates)) * len(rows), len(rows), len(candidates))
    budget = budget or cost_of(rungs)
    search = _Search(run, backbone, rows, Journal.open(run.out / TRIALS, spec.trials), rungs, budget)
    search.plain_reason = sharing_reason(written, rows)
    started = rungs[0].candidates
    if started < len(candidates):
        run.warnings.append(
            f"The budget of {budget:,} evaluations is enough to try {started:,} of {len(candidates):,} prompts. Raise it to try the others."
        )
    return search.climb(candidates[:started])


def _rows_to_choose_on(run: Run, written: Frame) -> list[Item]:
    """Validation rows whose reference an answer can hold; a longer one says nothing about a prompt."""
    spec = run.spec
    assert spec.validation is not None, "the spec refuses a search without validation rows"
    rows = read_rows(spec.validation, spec.labels, spec.max_rows)
    fitting = [item for item in rows if written.can_be_answered(item)]
    beyond = f"longer than the {spec.generation.max_new_tokens:,} tokens of an answer"
    if not fitting:
        raise BadData(f"The reference of every validation row is {beyond}, so no prompt can be chosen by them. Allow longer answers.")
    if len(fitting) < len(rows):
        left_out = len(rows) - len(fitting)
        run.warnings.append(f"Validation rows whose reference is {beyond}: {left_out:,}. They chose no prompt. Allow longer answers.")
    return fitting


def _budget(spec: RunSpec) -> int:
    return int(spec.recipe.options["budget"])  # type: ignore[arg-type]


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
    budget: int
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
        look = self.journal.recall(candidate.number, candidate.sha256, place, rung.rows)
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
        frame.check_room()
        encoded = frame.encode(rows)
        usable = [row for row in encoded if row.error is None]
        tokens = float(sum(len(row.ids) for row in usable))
        contexts = [row.ids for row in usable]
        if frame.trie is None:
            most = self.run.spec.generation.max_new_tokens + 1  # another cue may split a reference into one token more
            answers = [frame.answer_ids(row.item.label)[:most] for row in usable]
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
        best = min(self.looks.values(), key=lambda look: look.rank, default=None)
        metrics = {"validation_accuracy": best.correct / best.rows} if best and best.rows and best.correct is not None else {}
        self.run.report(Progress("searching", step=self.spent + done, steps=self.budget, metrics=dict(metrics)))

    def _record(self) -> TrainingRecord:
        seconds = sum(look.seconds for look in self.looks.values())
        return TrainingRecord(train_seconds=seconds, validation_source=f"{self.rungs[-1].rows} rows of the validation file")

    def _facts(self, candidates: Sequence[Candidate], winner: Candidate) -> dict[str, Any]:
        final, written = self.looks[winner.number], self.looks[0]
        return {
            "search": {
                "budget": self.budget,
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

"""Tries several configurations of a tuned approach and keeps the one that does best on validation rows. Test rows are never read.

Successive halving: all take a few steps, the better third takes three times as many, until one is left or the steps are used up.
What stands in front of the rows learns in one forward for all (`together`); what sits inside the model learns one after another.
Every look at the validation rows is written down at once, and each training keeps checkpoints of its own, so that a sweep that was
stopped goes on where it was.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from workers.engine.contract.outcome import Progress, Quality, TrainingRecord, finite
from workers.engine.contract.recipes import METHODS
from workers.engine.errors import BadSpec, NonFinite
from workers.engine.figures.halving import Stage, plan_stages
from workers.engine.journal import TRIALS, Journal, Look
from workers.engine.methods.artifacts import start_from
from workers.engine.methods.tuned import Tuning
from workers.engine.methods.tuning import create_tuning
from workers.engine.prompts.frame import Frame
from workers.engine.run import Run
from workers.engine.training.grid import Configuration, configurations_of
from workers.engine.training.learning import TrainingRows, judge, training_rows, warn_of_whole_rows
from workers.engine.training.loop import Hooks, Trainer
from workers.engine.training.teaching import Lessons
from workers.engine.training.together import begin_together, go_on_together, reason_against


@dataclass(frozen=True)
class Best:
    """The end of a sweep: the winner with its best step in place.

    Args:
        start: [P, H] learned vectors before training, where there are any.
        record: of the winner; `sweep_seconds` is what the others took.
    """

    tuning: Tuning
    start: Tensor | None
    record: TrainingRecord
    facts: dict[str, Any]


@dataclass
class _Contender:
    """A configuration on its way.

    Args:
        trainer: with its tuned part; only what stands in front of rows stays in memory while others learn.
        noted: looks that are in the journal.
    """

    configuration: Configuration
    trainer: Trainer | None = None
    start: Tensor | None = None
    record: TrainingRecord = field(default_factory=TrainingRecord)
    best: Quality | None = None
    problem: str = ""
    noted: int = 0

    @property
    def seconds(self) -> float:
        return self.record.train_seconds + self.record.evaluation_seconds


def learn_best(run: Run, frame: Frame, lessons: Lessons | None = None) -> Best:
    """Train the configurations that a run asks for and keep the best.

    Args:
        frame: with room for the learned part.
        lessons: a teacher's answers, which stand in place of the train rows' labels.
    Raises:
        NonFinite, BadSpec: no configuration could be trained; the reason of the first one.
        BadData, RunStopped, TimeLimit, OutOfMemory: as a single training.
    """
    spec, backbone = run.spec, frame.backbone
    options: dict[str, Any] = dict(spec.recipe.options)
    configurations = configurations_of(spec, backbone.parameter_count(), str(backbone.facts["family"]))
    if options["rounds"] == "halved":
        stages = plan_stages(len(configurations), int(options["max_steps"]), int(options["evaluate_every"]))
    else:
        stages = [Stage(len(configurations), int(options["max_steps"]))]
    folder = Path(spec.checkpoint_dir) if spec.checkpoint_dir else run.out / "sweep"
    if not spec.resume:
        shutil.rmtree(folder, ignore_errors=True)
    journal = Journal.open(run.out / TRIALS, None)
    sweep = _Sweep(run, frame, training_rows(run, frame, lessons), journal, folder, [_Contender(each) for each in configurations], stages)
    return sweep.climb()


@dataclass
class _Sweep:
    run: Run
    frame: Frame
    rows: TrainingRows
    journal: Journal
    folder: Path
    contenders: list[_Contender]
    stages: list[Stage]
    untouched: dict[str, Tensor] = field(default_factory=dict)
    apart_reason: str | None = None

    def climb(self) -> Best:
        """All rounds."""
        alive = self._begin()
        for stage in self.stages:
            alive = _ranked(alive)[: stage.configurations]
            self._train(alive, stage.steps)
            alive = [each for each in alive if not each.problem]
            self._refuse_none(alive)
        return self._finish(_ranked(alive)[0])

    def _begin(self) -> list[_Contender]:
        """Make what can stand side by side in memory, and look at every start."""
        first = self.contenders[0]
        trainer = self._made(first)
        if not trainer.tuning.is_prompt:
            if METHODS[trainer.tuning.recipe.method].replaces_weights:
                self.untouched = {name: tensor.clone() for name, tensor in trainer.tuning.state().items()}
            trainer.tuning.remove()
            first.trainer = None
            self.apart_reason = "it sits inside the model's modules"
            return self.contenders
        for contender in self.contenders[1:]:
            try:
                self._made(contender)
            except BadSpec as error:
                self._give_up(contender, error.message)
        alive = [each for each in self.contenders if not each.problem]
        begin_together(_trainers(alive))
        self.apart_reason = reason_against(_trainers(alive))
        for contender in alive:
            self._note(contender)
        return alive

    def _made(self, contender: _Contender) -> Trainer:
        spec, backbone = contender.configuration.spec, self.frame.backbone
        tuning = create_tuning(backbone, self.frame, spec.recipe, spec.seed)
        self.run.warnings += tuning.warnings
        if self.untouched:
            tuning.take(self.untouched)
        if spec.start_from is not None:
            start_from(Path(spec.start_from), tuning, backbone)
        hooks = Hooks(
            evaluate=judge(backbone, self.frame, tuning, self.rows.chosen),
            on_progress=lambda progress: self._hear(contender),
            check_stop=self.run.check_stop,
            checkpoint_dir=self.folder / str(contender.configuration.number),
            checkpoint_seconds=spec.checkpoint_seconds,
            resume=True,
        )
        vectors = tuning.virtual().vectors
        contender.start = None if vectors is None else vectors.detach().clone()
        contender.trainer = Trainer(backbone, tuning, self.rows.lines, spec.seed, hooks)
        return contender.trainer

    def _train(self, alive: Sequence[_Contender], until: int) -> None:
        if self.apart_reason is None:
            go_on_together(_trainers(alive), until)
        for contender in alive:
            try:
                if contender.trainer is None:
                    self._train_inside(contender, until)
                else:
                    contender.trainer.go_on(until)
            except NonFinite as error:
                self._give_up(contender, error.message)
            except BadSpec as error:
                if contender.configuration.number == 0:
                    raise
                self._give_up(contender, error.message)
            self._take_stock(contender)

    def _train_inside(self, contender: _Contender, until: int) -> None:
        """Put a part into the model's modules, train it, keep a checkpoint to go on from, and take it out again."""
        trainer = self._made(contender)
        try:
            trainer.begin()
            trainer.go_on(until)
            trainer.save()
        finally:
            self._take_stock(contender)
            contender.trainer = None
            trainer.tuning.remove()

    def _take_stock(self, contender: _Contender) -> None:
        if contender.trainer is None:
            return
        self._note(contender)
        contender.record, contender.best = contender.trainer.record, contender.trainer.best
        if contender.trainer.failure is not None and not contender.problem:
            self._give_up(contender, contender.trainer.failure.message)

    def _hear(self, contender: _Contender) -> None:
        self._note(contender)
        done = sum(each.trainer.step if each.trainer else each.record.steps for each in self.contenders)
        best = max((each.best.accuracy or 0.0 for each in self.contenders if each.best), default=None)
        shown = {} if best is None or self.frame.trie is None else {"validation_accuracy": best}
        self.run.report(Progress("trying", step=done, steps=self._planned_steps(), metrics=dict(shown)))

    def _planned_steps(self) -> int:
        before = [0, *(stage.steps for stage in self.stages)]
        return sum(stage.configurations * (stage.steps - already) for stage, already in zip(self.stages, before, strict=False))

    def _note(self, contender: _Contender) -> None:
        """Write down the looks of a training that the journal lacks."""
        trainer = contender.trainer
        if trainer is None:
            return
        contender.best, contender.record, contender.record.steps = trainer.best, trainer.record, trainer.step
        curve, num_rows = trainer.record.curve, len(self.rows.chosen)
        for place, point in enumerate(curve[contender.noted :], start=contender.noted):
            look = self._look(contender, place)
            look.rows, look.step, look.loss = num_rows, point.step, finite(point.validation_loss)
            look.seconds = point.seconds + trainer.record.evaluation_seconds * (place + 1) / len(curve)
            look.correct = None if point.validation_accuracy is None else round(point.validation_accuracy * num_rows)
            self.journal.write(look)
        contender.noted = len(curve)

    def _give_up(self, contender: _Contender, problem: str) -> None:
        contender.problem = problem
        look = self._look(contender, contender.noted)
        look.problem, look.seconds = problem, contender.seconds
        self.journal.write(look)

    def _look(self, contender: _Contender, place: int) -> Look:
        plain = contender.configuration.plain()
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        return Look(contender.configuration.number, contender.configuration.name, digest, plain, rung=place)

    def _refuse_none(self, alive: Sequence[_Contender]) -> None:
        if not alive:
            raise NonFinite(next(each.problem for each in self.contenders if each.problem))

    def _finish(self, winner: _Contender) -> Best:
        trainer = winner.trainer or self._made(winner)
        try:
            if self.apart_reason and not trainer.tuning.is_prompt:
                trainer.begin()
            record = trainer.finish()
        except BaseException:
            trainer.tuning.remove()
            raise
        record.validation_source = self.rows.source
        record.sweep_seconds = sum(each.seconds for each in self.contenders if each is not winner)
        warn_of_whole_rows(self.run, trainer)
        if not self.run.spec.checkpoint_dir:
            shutil.rmtree(self.folder, ignore_errors=True)
        return Best(trainer.tuning, winner.start, record, {"sweep": self._facts(winner)})

    def _facts(self, winner: _Contender) -> dict[str, Any]:
        first = self.contenders[0]
        assert winner.best is not None, "a training begins with a look"
        return {
            "configurations": len(self.contenders),
            "num_refused": sum(bool(each.problem) for each in self.contenders),
            "stages": [asdict(stage) for stage in self.stages],
            "together": self.apart_reason is None,
            "apart_reason": self.apart_reason or "",
            "validation_rows": len(self.rows.chosen),
            "seconds": sum(each.seconds for each in self.contenders),
            "winner": winner.configuration.number,
            "winner_name": winner.configuration.name,
            "winner_config": winner.configuration.plain(),
            "winner_accuracy": winner.best.accuracy,
            "winner_loss": winner.best.loss,
            "set_accuracy": first.best.accuracy if first.best else None,
            "set_loss": first.best.loss if first.best else None,
        }


def _ranked(contenders: Sequence[_Contender]) -> list[_Contender]:
    """The better ones first; among equals the earlier one."""

    def place(each: _Contender) -> tuple[float, float, int]:
        accuracy, loss = (each.best.accuracy or 0.0, finite(each.best.loss)) if each.best else (0.0, None)
        return (-accuracy, float("inf") if loss is None else loss, each.configuration.number)

    return sorted(contenders, key=place)


def _trainers(contenders: Sequence[_Contender]) -> list[Trainer]:
    return [each.trainer for each in contenders if each.trainer is not None]

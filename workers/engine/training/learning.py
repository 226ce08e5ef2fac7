"""Brings rows and a tuned part to the training loop: which rows learn, which rows choose, and how a candidate is judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from workers.engine.answering.scoring import Scorer, line_scores
from workers.engine.contract.outcome import Quality, TrainingRecord
from workers.engine.contract.spec import Item, RunSpec
from workers.engine.errors import BadData
from workers.engine.methods.tuned import Tuning
from workers.engine.model.backbone import Backbone
from workers.engine.passes.batching import Lines, SoftTargets
from workers.engine.prompts.frame import EncodedRow, Frame
from workers.engine.rows import read_rows
from workers.engine.run import Run
from workers.engine.training.loop import Hooks, Trainer
from workers.engine.training.teaching import Lessons

# Fewer rows are right or wrong by luck, and the step that they choose with them.
FEWEST_INNER_ROWS = 20


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a training.

    Args:
        lines: rows to learn from.
        chosen: rows that choices are made on.
        source: where those come from, for the record.
        is_inner: they are train rows that were set aside.
    """

    lines: Lines
    chosen: list[EncodedRow]
    source: str
    is_inner: bool = False


def training_rows(run: Run, frame: Frame, lessons: Lessons | None = None) -> TrainingRows:
    """The rows that a run learns from and chooses by.

    Args:
        lessons: a teacher's answers, which stand in place of the train rows' labels.

    Raises:
        BadData: fewer than two usable rows.
    """
    spec, options = run.spec, run.spec.recipe.options
    items = lessons.train if lessons else _train_rows(spec)
    _warn_of_unseen_labels(run, items, "no answer of the teacher" if lessons else "no train row")
    rows = _usable(run, frame, items)
    is_inner = _chooses_on_train(run, len(rows))
    if is_inner:
        rows, choosing = _split(rows, float(options["inner_share"]), spec.seed)  # type: ignore[arg-type]
    else:
        assert spec.validation is not None, "without validation rows, train rows choose"
        choosing = _usable(run, frame, read_rows(spec.validation, spec.labels, spec.max_rows))
    rows = [row for row in rows for _ in range(row.item.times)]  # after the choice of rows that only judge
    chosen = sample_rows(choosing, int(options["validation_rows"]), spec.seed)  # type: ignore[arg-type]
    answers = tuple(_answer(frame, row.item) for row in rows)
    lines = Lines(tuple(row.ids for row in rows), answers, _soft_targets(frame, rows, lessons) if lessons else None)
    source = "inner split of train" if is_inner else "validation file"
    return TrainingRows(lines, chosen, f"{len(chosen)} rows of the {source}", is_inner)


def _train_rows(spec: RunSpec) -> list[Item]:
    assert spec.train is not None, "the spec refuses a tuned method without train rows"
    return read_rows(spec.train, spec.labels, spec.max_rows)


def _chooses_on_train(run: Run, num_rows: int) -> bool:
    """Whether train rows are set aside to choose the step; says so where they were asked for and are not."""
    spec, options = run.spec, run.spec.recipe.options
    if spec.validation is None or options["chosen_on"] != "inner":
        return spec.validation is None
    aside = round(num_rows * float(options["inner_share"]))  # type: ignore[arg-type]
    # Configurations are ranked on validation rows, and a look serves both choices.
    reason = "several configurations are compared by them anyway" if spec.num_configurations > 1 else ""
    if aside < FEWEST_INNER_ROWS:
        reason = f"{aside:,} train rows set aside would be too few"
    if reason:
        run.warnings.append(f"Validation rows choose the step: {reason}.")
    return not reason


def learn(run: Run, frame: Frame, tuning: Tuning, lessons: Lessons | None = None) -> TrainingRecord:
    """Train a tuned part on the rows of a run and leave its best candidate in place.

    Args:
        lessons: a teacher's answers, which stand in place of the train rows' labels.

    Raises:
        BadData: fewer than two usable rows.
        RunStopped, TimeLimit, NonFinite, OutOfMemory: as the loop says.
    """
    spec, rows = run.spec, training_rows(run, frame, lessons)
    hooks = Hooks(
        evaluate=judge(frame.backbone, frame, tuning, rows.chosen),
        on_progress=run.report,
        check_stop=run.check_stop,
        checkpoint_dir=Path(spec.checkpoint_dir) if spec.checkpoint_dir else None,
        checkpoint_seconds=spec.checkpoint_seconds,
        resume=spec.resume,
        chosen_on="inner" if rows.is_inner else "validation",
    )
    trainer = Trainer(frame.backbone, tuning, rows.lines, spec.seed, hooks)
    record = trainer.train()
    record.validation_source = rows.source
    warn_of_whole_rows(run, trainer)
    return record


def warn_of_whole_rows(run: Run, trainer: Trainer) -> None:
    """Say so where a training could not share its prefix."""
    if trainer.plain_reason:
        run.warnings.append(f"Training ran whole sequences, which is slower: {trainer.plain_reason}.")


def _soft_targets(frame: Frame, rows: Sequence[EncodedRow], lessons: Lessons) -> SoftTargets | None:
    """How likely the teacher finds each label of each row; None where only its answers are learned."""
    teaching = frame.spec.teaching
    if frame.trie is None or teaching.targets != "distribution":
        return None
    told = [[lessons.told[row.item.id].loglikelihoods[label] for label in frame.spec.labels] for row in rows]
    return SoftTargets(frame.trie, torch.tensor(told), teaching.temperature)


def judge(backbone: Backbone, frame: Frame, tuning: Tuning, rows: Sequence[EncodedRow]) -> Callable[[], Quality]:
    """A function that says how good the present candidate is on these rows, by the same scoring path as every result."""
    contexts = [row.ids for row in rows]
    if frame.trie is None:
        answers = [_answer(frame, row.item) for row in rows]

        def judge_text() -> Quality:
            found = line_scores(backbone, tuning.virtual(), contexts, answers)
            return Quality(accuracy=None, loss=-float(found.mean()))

        return judge_text
    trie = frame.trie
    expected = torch.tensor([frame.spec.labels.index(row.item.label) for row in rows])

    def judge_labels() -> Quality:
        with torch.no_grad():
            found = Scorer(backbone, trie, tuning.virtual()).score(contexts).labels
        accuracy = float((found.argmax(1) == expected).float().mean())
        return Quality(accuracy, -float(found.gather(1, expected[:, None]).mean()))

    return judge_labels


def _answer(frame: Frame, item: Item) -> tuple[int, ...]:
    if frame.trie is None:
        return frame.answer_ids(item.label)
    return frame.answers_of(item.label)[0].ids


def _usable(run: Run, frame: Frame, items: Sequence[Item]) -> list[EncodedRow]:
    encoded = frame.encode(items)
    usable = [row for row in encoded if row.error is None]
    if len(usable) < len(encoded):
        run.warnings.append(f"{len(encoded) - len(usable):,} rows were left out of training, because they are too long or empty.")
    usable = _answerable(run, frame, usable)
    if not usable:
        raise BadData(
            "No row is left to learn from: each is too long, empty, or has a reference longer than an answer may be. "
            "Shorten the rows or the prompt."
        )
    return usable


def _answerable(run: Run, frame: Frame, rows: list[EncodedRow]) -> list[EncodedRow]:
    """Rows whose reference fits into an answer; a longer one could neither be written nor fits the window for sure."""
    fitting = [row for row in rows if frame.can_be_answered(row.item)]
    if len(fitting) < len(rows):
        most = run.spec.generation.max_new_tokens
        run.warnings.append(
            f"{len(rows) - len(fitting):,} rows were left out of training, because their reference is longer than {most} tokens. "
            "Allow longer answers to learn from them."
        )
    return fitting


def _split(rows: list[EncodedRow], share: float, seed: int) -> tuple[list[EncodedRow], list[EncodedRow]]:
    """A seeded share of the train rows set aside for choices; at least one row stays on either side."""
    if len(rows) < 2:
        raise BadData("Training needs at least two rows: one to learn from and one to choose by. Add rows.")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    aside = min(len(rows) - 1, max(1, round(len(rows) * share)))
    return [rows[index] for index in sorted(order[aside:])], [rows[index] for index in sorted(order[:aside])]


def sample_rows(rows: list[EncodedRow], limit: int, seed: int) -> list[EncodedRow]:
    """At most `limit` of the rows, drawn by the seed, in their own order."""
    if len(rows) <= limit:
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()[:limit]
    return [rows[index] for index in sorted(order)]


def _warn_of_unseen_labels(run: Run, items: Sequence[Item], rows: str) -> None:
    unseen = [label for label in run.spec.labels if label not in {item.label for item in items}]
    if unseen:
        names = ", ".join(unseen[:3]) + (" and others" if len(unseen) > 3 else "")
        run.warnings.append(f"{len(unseen)} of {len(run.spec.labels)} labels have {rows}: {names}.")

"""A teacher's answers to train, unlabelled and validation rows: asked once, kept as JSON lines, handed to a student as labels.

Knows rows and answers, no loss and no model. Rows that the teacher's prompt shows are never learned from; test rows are never read.
"""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from workers.engine.contract.outcome import Prediction, Progress
from workers.engine.contract.spec import EvaluateOn, FileRef, Item, Recipe, RunSpec
from workers.engine.contract.teaching_rules import JOURNAL
from workers.engine.errors import BadData
from workers.engine.rows import read_rows
from workers.engine.run import Run

_CHUNK = 256
# One draw for every seed, so that seeds differ in training alone and may share the teacher's answers.
_DRAW = 0

Ask = Callable[[Sequence[Item]], Sequence[Prediction]]


@dataclass(frozen=True)
class Lesson:
    """What the teacher says about one row.

    Args:
        answer: a label, or a free answer.
        loglikelihoods: per label (nats); empty where the teacher does not tell.
        tokens: read and written for it; seconds: of the device.
    """

    id: str
    answer: str
    loglikelihoods: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Lessons:
    """Everything that a student hears.

    Args:
        train: rows to learn from, the teacher's answer as their label.
        told: the teacher's answers by row id, those to validation rows included.
        checked: validation rows that the teacher answered, on which student and teacher are compared.
        left_out: rows that the teacher's prompt shows.
        unlabelled: how many of the rows to learn from have no label of their own.
        right: of the others, how many the teacher answers as they are labelled.
    """

    train: tuple[Item, ...]
    told: Mapping[str, Lesson]
    checked: tuple[Item, ...]
    left_out: int = 0
    unlabelled: int = 0
    right: int = 0

    def agreement(self, predictions: Iterable[Prediction]) -> dict[str, int]:
        """Of the checked rows, how many the student answers as its teacher does."""
        answers = [(prediction.predicted, self.told[prediction.id].answer) for prediction in predictions]
        return {"checked_rows": len(answers), "agreed": sum(said == wanted for said, wanted in answers)}

    def facts(self, spec: RunSpec) -> dict[str, Any]:
        """What the result keeps of the teaching."""
        return {
            **asdict(spec.teaching),
            "learned_rows": len(self.train),
            "learned_train": len(self.train) - self.unlabelled,
            "learned_unlabelled": self.unlabelled,
            "left_out": self.left_out,
            "teacher_right": self.right if len(self.train) > self.unlabelled else None,
            "teacher_right_checked": sum(self.told[item.id].answer == item.label for item in self.checked),
            "asked_rows": 0 if spec.teacher_answers else len(self.told),
            "teacher_tokens": sum(lesson.tokens for lesson in self.told.values()),
            "teacher_seconds": sum(lesson.seconds for lesson in self.told.values()),
        }


def teachers_spec(spec: RunSpec) -> RunSpec | None:
    """What a run asks its own model where a prompt teaches; None where answers were given before."""
    if spec.teacher is None:
        return None
    plain: dict[str, Any] = {"recipe": Recipe("hard_prompt"), "teacher": None, "start_from": None, "keep_prompts": False}
    # A student may be evaluated on nothing; a written prompt has nothing else to do.
    plain["evaluate"] = spec.evaluate or (EvaluateOn("taught", FileRef("")),)
    # A row that is too long for the teacher teaches nothing, and stops nothing.
    plain |= {"too_long": "skip", "truncate_column": ""}
    return replace(spec, template=spec.teacher.template, answer_words=spec.teacher.answer_words, **plain)


def hear_teacher(run: Run, ask: Ask | None) -> Lessons:
    """The teacher's answers to the rows of a run: read from a file that was kept, or asked now and kept as they come.

    Args:
        ask: answers rows as the teacher does; None where answers were given before.
    Raises:
        BadData: the teacher has answered no row that can be learned from.
    """
    spec = run.spec
    rows = _taught_rows(spec)
    free = [item for item in rows if not _is_shown(spec, item)]
    checked = _checked_rows(spec)
    if spec.teacher_answers:
        told = read_answers(spec.teacher_answers)
        wanted = _drawn([item for item in free if item.id in told], spec.teaching.rows)
    else:
        assert ask is not None, "a teacher without answers is a prompt to be asked"
        wanted = _drawn(free, spec.teaching.rows)
        told = _ask(run, ask, [*wanted, *checked])
    lessons = [(item, told[item.id]) for item in wanted if item.id in told and _teaches(spec, told[item.id])]
    _tell(run, len(wanted) - len(lessons), len(lessons))
    return Lessons(
        tuple(replace(item, label=lesson.answer) for item, lesson in lessons),
        told,
        tuple(item for item in checked if item.id in told),
        left_out=len(rows) - len(free),
        unlabelled=sum(not item.label for item, _ in lessons),
        right=sum(item.label == lesson.answer for item, lesson in lessons if item.label),
    )


def read_answers(ref: FileRef) -> dict[str, Lesson]:
    """Answers that were given before, by row id.

    Raises:
        BadData: the file is missing, has changed, or holds something else.
    """
    path = Path(ref.path)
    try:
        content = path.read_bytes()
        lessons = [Lesson(**json.loads(line)) for line in content.splitlines() if line.strip()]
    except OSError as error:
        raise BadData(f"The teacher's answers {path.name} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise BadData(f"The teacher's answers {path.name} are not as this engine writes them: {error}.") from error
    if ref.sha256 and hashlib.sha256(content).hexdigest() != ref.sha256:
        raise BadData(f"The teacher's answers {path.name} are not those that this run was planned with: their SHA-256 differs.")
    return {lesson.id: lesson for lesson in lessons}


def _ask(run: Run, ask: Ask, rows: Sequence[Item]) -> dict[str, Lesson]:
    """Ask about the rows that no earlier attempt has asked about."""
    journal = _Journal(Path(run.spec.checkpoint_dir or run.out) / JOURNAL, _teacher_of(run.spec))
    told = journal.begin()
    missing = [row for row in rows if row.id not in told]
    for at in range(0, len(missing), _CHUNK):
        run.report(Progress("teaching", rows=len(rows) - len(missing) + at, rows_total=len(rows)))
        answered = ask(missing[at : at + _CHUNK])
        lessons = [_lesson(prediction) for prediction in answered if prediction.error is None and prediction.predicted]
        journal.add(lessons)
        told |= {lesson.id: lesson for lesson in lessons}
    return told


def _lesson(prediction: Prediction) -> Lesson:
    tokens = prediction.prompt_tokens + prediction.virtual_tokens + prediction.completion_tokens
    return Lesson(prediction.id, prediction.predicted or "", prediction.loglikelihoods, tokens, prediction.seconds)


class _Journal:
    """The teacher's answers on disk, a line each, so that an attempt that dies loses none. The first line says whose they are."""

    def __init__(self, path: Path, teacher: str) -> None:
        self.path, self.teacher = path, teacher

    def begin(self) -> dict[str, Lesson]:
        """What earlier attempts were told; the file is written anew without a line that was cut off."""
        lessons = self._known()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_text(json.dumps({"teacher": self.teacher}) + "\n" + _lines(lessons), encoding="utf-8")
        partial.replace(self.path)
        return {lesson.id: lesson for lesson in lessons}

    def add(self, lessons: Sequence[Lesson]) -> None:
        with self.path.open("a", encoding="utf-8") as journal:
            journal.write(_lines(lessons))

    def _known(self) -> list[Lesson]:
        try:
            first, *lines = self.path.read_text(encoding="utf-8").splitlines()
            if json.loads(first) != {"teacher": self.teacher}:
                return []
        except (OSError, ValueError):
            return []
        lessons = []
        for line in lines:
            try:
                lessons.append(Lesson(**json.loads(line)))
            except (ValueError, TypeError):
                break  # torn by the end of the attempt that wrote it
        return lessons


def _lines(lessons: Iterable[Lesson]) -> str:
    return "".join(json.dumps(asdict(lesson), ensure_ascii=False) + "\n" for lesson in lessons)


def _teacher_of(spec: RunSpec) -> str:
    """Equal for runs whose teachers answer alike."""
    plain = spec.to_json()
    asked = {name: plain[name] for name in ("backbone", "teacher", "labels", "task", "generation", "too_long", "truncate_column")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _taught_rows(spec: RunSpec) -> list[Item]:
    """The rows that the teacher is to teach, train rows before unlabelled ones."""
    rows: list[Item] = []
    if spec.teaching.learns_on != "unlabelled":
        assert spec.train is not None, "the spec refuses to teach train rows without any"
        rows += read_rows(spec.train, spec.labels, spec.max_rows)
    if spec.teaching.learns_on != "train":
        assert spec.unlabelled is not None, "the spec refuses to teach unlabelled rows without any"
        rows += read_rows(spec.unlabelled, spec.labels, spec.max_rows, labelled=False)
    return rows


def _is_shown(spec: RunSpec, item: Item) -> bool:
    """Whether the teacher's prompt shows the row with its label: it would teach by heart."""
    shown = spec.teacher.template.demonstrations if spec.teacher else ()
    # By its text too: another version of the data gives the same row another id, and a text may stand in the data twice.
    return any(each.id == item.id or dict(each.fields) == dict(item.fields) for each in shown)


def _teaches(spec: RunSpec, lesson: Lesson) -> bool:
    if spec.task == "extraction":
        return True
    if spec.teaching.targets == "distribution":
        return set(spec.labels) <= set(lesson.loglikelihoods)
    return lesson.answer in spec.labels


def _drawn(items: Sequence[Item], limit: int) -> list[Item]:
    """At most so many of the rows, a seeded draw in their own order; 0 takes all."""
    if not limit or len(items) <= limit:
        return list(items)
    chosen = sorted(random.Random(_DRAW).sample(range(len(items)), limit))  # noqa: S311 - nothing secret is drawn
    return [items[place] for place in chosen]


def _checked_rows(spec: RunSpec) -> list[Item]:
    if spec.validation is None:
        return []
    rows = read_rows(spec.validation, spec.labels, spec.max_rows)
    return _drawn(rows, int(spec.recipe.options["validation_rows"]))  # type: ignore[arg-type]


def _tell(run: Run, num_silent: int, num_lessons: int) -> None:
    rows = {"train": "train rows", "unlabelled": "unlabelled rows", "both": "rows"}[run.spec.teaching.learns_on]
    if not num_lessons:
        raise BadData(
            f"The teacher has answered no {rows.removesuffix('s')} that can be learned from. Choose another teacher, or let it answer the "
            f"{rows} first."
        )
    if num_silent:
        without = "how likely it finds each label" if run.spec.teaching.targets == "distribution" else "an answer that is one"
        run.warnings.append(f"{num_silent:,} {rows} were left out, because the teacher did not give {without}.")

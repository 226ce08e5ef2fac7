"""What a run is asked, as frozen dataclasses that read and write JSON. Standard library only; knows no model and no tokenizer.

Every check here can be made without opening a file other than the spec itself.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from workers.engine.contract.answer_rules import AnswerFormat, Generation
from workers.engine.contract.recipes import METHODS, OptionValue, resolve_options
from workers.engine.contract.spec_json import build, one_of
from workers.engine.contract.teaching_rules import Teaching
from workers.engine.contract.template_spec import TemplateSpec, Variant, read_words
from workers.engine.errors import BadSpec

TASKS = ("classification", "extraction")
FEW_BITS = {"8bit": 8, "4bit": 4}
DTYPES = ("auto", "fp32", "bf16", *FEW_BITS)
TOO_LONG = ("refuse", "truncate", "skip")
_REVISION = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class FileRef:
    """One JSONL file; with a hash it is refused when its content has changed."""

    path: str
    sha256: str | None = None

    @classmethod
    def from_json(cls, value: Any) -> Self:
        if isinstance(value, str):
            return cls(value)
        return build(cls, value, "file")


@dataclass(frozen=True)
class BackboneRef:
    """Where a frozen model comes from and how it is to be held in memory."""

    source: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    attention: str = "sdpa"

    def __post_init__(self) -> None:
        one_of(self.dtype, DTYPES, "backbone.dtype")
        one_of(self.device, ("auto", "cpu", "cuda"), "backbone.device")
        one_of(self.attention, ("sdpa", "eager"), "backbone.attention")
        if self.revision is not None and not _REVISION.fullmatch(self.revision):
            raise BadSpec(f"The revision {self.revision!r} of {self.source} can move. Give the full commit: 40 characters 0-9 a-f.")

    @classmethod
    def from_json(cls, value: Any) -> Self:
        return build(cls, {"source": value} if isinstance(value, str) else value, "backbone")


@dataclass(frozen=True)
class Item:
    """One row of data: its columns and the label (the reference text when the task is extraction; empty for an unlabelled row).

    Args:
        times: how often training shows it in one pass over the rows; every other work counts it once.
    """

    id: str
    fields: Mapping[str, str]
    label: str
    times: int = 1


@dataclass(frozen=True)
class Recipe:
    """How an approach is made. Options left out take the defaults of `recipes.METHODS`."""

    method: str = "hard_prompt"
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadSpec(f"There is no method {self.method!r}. Choose one of: {', '.join(METHODS)}.")
        object.__setattr__(self, "options", resolve_options(self.method, self.options))

    @property
    def is_tuned(self) -> bool:
        return METHODS[self.method].family == "tuned"

    @property
    def is_baseline(self) -> bool:
        return METHODS[self.method].family == "baseline"

    @classmethod
    def from_json(cls, value: Any) -> Self:
        return build(cls, {"method": value} if isinstance(value, str) else value, "recipe")


@dataclass(frozen=True)
class EvaluateOn:
    """One file to predict, under the name that its predictions and metrics carry.

    labelled: without labels its rows are answered, and nothing says whether the answers are right.
    """

    name: str
    file: FileRef
    labelled: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadSpec(f"The evaluation name {self.name!r} must be letters, digits, '_', '.' or '-'.")

    @classmethod
    def from_json(cls, value: Any) -> Self:
        return build(cls, value, "evaluate", {"file": FileRef.from_json})


@dataclass(frozen=True)
class RunSpec:
    """One run: make one approach with one seed, then predict every row of the given files.

    `artifact` names the folder of an earlier run whose tuned part is loaded instead of being trained; `label_bias` holds the
    numbers that an earlier run of the same approach fitted, which are then used as they are; `start_from` names the folder of an
    earlier run whose tuned part is what training starts from. `ablate` asks what each learned token of the artifact is worth on the
    validation rows. A prompt search draws from `variants` and takes what earlier attempts measured from `trials`.
    A tuned approach with a `teacher` (a prompt that the run's own model answers) or with `teacher_answers` (given before, by whatever
    model) learns what the teacher says about the train rows instead of their labels, or about the `unlabelled` rows, by the rules of
    `teaching`.
    """

    id: str
    backbone: BackboneRef
    template: TemplateSpec
    evaluate: tuple[EvaluateOn, ...]
    task: str = "classification"
    labels: tuple[str, ...] = ()
    answer_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    train: FileRef | None = None
    validation: FileRef | None = None
    unlabelled: FileRef | None = None
    artifact: str | None = None
    start_from: str | None = None
    label_bias: Mapping[str, float] = field(default_factory=dict)
    ablate: bool = False
    variants: tuple[Variant, ...] = ()
    trials: FileRef | None = None
    teacher: Variant | None = None
    teacher_answers: FileRef | None = None
    teaching: Teaching = field(default_factory=Teaching)
    too_long: str = "refuse"
    truncate_column: str = ""
    generation: Generation = field(default_factory=Generation)
    answer_format: AnswerFormat = field(default_factory=AnswerFormat)
    max_rows: int | None = None
    keep_prompts: bool = False
    checkpoint_dir: str | None = None
    checkpoint_seconds: float = 60.0
    resume: bool = False
    time_limit_seconds: float | None = None
    memory_limit_bytes: int | None = None

    def __post_init__(self) -> None:
        one_of(self.task, TASKS, "task")
        one_of(self.too_long, TOO_LONG, "too_long")
        self._check_labels()
        self._check_files()
        self._check_teacher()
        if self.too_long == "truncate" and self.truncate_column not in self.template.columns():
            raise BadSpec(
                f"Too long rows are to be cut in column {self.truncate_column!r}, but the prompt has no such slot. "
                "Name one of: " + ", ".join(sorted(self.template.columns())) + "."
            )
        if self.template.first_step and not (self.recipe.method == "hard_prompt" or self.recipe.is_baseline):
            raise BadSpec(f"The method {self.recipe.method} answers in one step, but the prompt has a first step. Give it another prompt.")

    def _check_labels(self) -> None:
        if self.task == "extraction":
            if self.recipe.is_baseline or self.recipe.method == "label_bias":
                raise BadSpec(f"The method {self.recipe.method} answers with labels; extraction has none.")
            if self.score != "sum":
                raise BadSpec("Free answers are not chosen among labels, so no score chooses them. Leave the option score out.")
            return
        if len(self.labels) < 2:
            raise BadSpec(f"A classification needs at least two labels; this one has {len(self.labels)}.")
        if len(set(self.labels)) != len(self.labels):
            raise BadSpec("The list of labels names a label twice. List each label once.")
        if self.label_bias and set(self.label_bias) != set(self.labels):
            raise BadSpec("The label bias must have one number for each label, no more and no less.")
        unknown = sorted(set(self.answer_words) - set(self.labels))
        if unknown:
            raise BadSpec(f"There are answer words for {unknown[0]!r}, which is not one of the labels.")
        for label in self.labels:
            if any(not word.strip() for word in self.words_of(label)):
                raise BadSpec(f"An answer word of the label {label!r} is empty. Give it at least one word.")

    def _check_files(self) -> None:
        if not self.evaluate and not self.recipe.is_tuned:
            raise BadSpec("The run has nothing to do: name at least one file to evaluate.")
        if self.ablate and (self.artifact is None or self.validation is None):
            raise BadSpec("Learned tokens are taken out one by one of an artifact that exists, on validation rows. Give the run both.")
        if self.start_from is not None and not self.recipe.is_tuned:
            raise BadSpec(f"The method {self.recipe.method} trains no part of its own, so it cannot start from one. Leave start_from out.")
        names = [target.name for target in self.evaluate]
        if len(set(names)) != len(names):
            raise BadSpec("Two evaluations have the same name. Name each of them once.")
        is_made = self.artifact is not None or bool(self.label_bias)
        if self.train is None and not is_made and not self._learns_without_train and METHODS[self.recipe.method].needs_train:
            raise BadSpec(f"The method {self.recipe.method} learns from rows. Give the run a train file.")
        if self.recipe.method in ("prompt_search", "dspy_search") and self.validation is None:
            raise BadSpec("A prompt search chooses on validation rows. Give the run a validation file.")
        if not self.recipe.is_tuned and self.num_configurations > 1:
            self._check_wordings()

    def _check_wordings(self) -> None:
        if self.validation is None:
            raise BadSpec("Several wordings are to be tried, and the best is chosen on validation rows. Give the run a validation file.")
        if self.template.first_step:
            raise BadSpec("A prompt of two steps is not reworded, so only one configuration of it can be tried. Set configurations to 1.")
        if self.score != "sum" or self.recipe.options.get("policy") == "nearest":
            raise BadSpec(
                "Only one configuration can be tried where labels are chosen by another score, or every row has its own examples."
            )

    def _check_teacher(self) -> None:
        if not self.is_taught:
            return
        if self.teaching.learns_on != "train" and self.unlabelled is None and self.artifact is None:
            raise BadSpec("The teacher is to teach unlabelled rows. Give the run a file of them.")
        if self.teacher and self.teacher_answers:
            raise BadSpec("The run names a teacher's prompt and a teacher's answers. Give it one of the two.")
        if not self.recipe.is_tuned:
            raise BadSpec(f"The method {self.recipe.method} trains no part of its own, so it cannot be taught. Choose a tuned method.")
        if self.teaching.targets == "distribution" and self.task == "extraction":
            raise BadSpec("Free answers have no distribution over labels to learn from. Set teaching.targets to 'labels'.")

    @property
    def is_taught(self) -> bool:
        """Whether a teacher's answers stand in place of labels."""
        return self.teacher is not None or self.teacher_answers is not None

    @property
    def _learns_without_train(self) -> bool:
        """A student may know nothing but unlabelled rows; context-aware prompts begin with train rows, whoever teaches."""
        return self.is_taught and self.teaching.learns_on == "unlabelled" and self.recipe.method != "cpt"

    @property
    def score(self) -> str:
        """What a label is chosen by. Tuned approaches are trained on the sum, so they are scored by it."""
        return str(self.recipe.options.get("score", "sum"))

    @property
    def num_configurations(self) -> int:
        """How many settings or wordings the run is to try."""
        return int(self.recipe.options.get("configurations") or 1)  # type: ignore[arg-type]

    def words_of(self, label: str) -> tuple[str, ...]:
        """Answer words of a label; the label itself when none are given."""
        return self.answer_words.get(label) or (label,)

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON types; `from_json` gives an equal spec back."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """A spec from parsed JSON.

        Raises:
            BadSpec: a key is unknown or missing, or a value makes no sense.
        """
        readers: dict[str, Callable[[Any], Any]] = {
            "backbone": BackboneRef.from_json,
            "template": TemplateSpec.from_json,
            "recipe": Recipe.from_json,
            "evaluate": lambda rows: tuple(EvaluateOn.from_json(row) for row in rows),
            "labels": tuple,
            "answer_words": read_words,
            "variants": lambda rows: tuple(Variant.from_json(row) for row in rows),
            "trials": _optional_file,
            "teacher": lambda given: None if given is None else Variant.from_json(given),
            "teacher_answers": _optional_file,
            "teaching": lambda given: build(Teaching, given, "teaching"),
            "train": _optional_file,
            "validation": _optional_file,
            "unlabelled": _optional_file,
            "generation": Generation.from_json,
            "answer_format": lambda given: build(AnswerFormat, given, "answer_format"),
        }
        return build(cls, value, "the spec", readers)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """A spec from a JSON file.

        Raises:
            BadSpec: the file is missing, is not JSON, or does not describe a run.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadSpec(f"The spec {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise BadSpec(f"The spec {path} is not JSON: {error}.") from error
        return cls.from_json(value)


def _optional_file(value: Any) -> FileRef | None:
    return None if value is None else FileRef.from_json(value)

"""What a run says while it goes on and when it has ended. Standard library only; plain values that turn into JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Quality:
    """How good a candidate is on the rows that choices are made on; more accurate is better, then less loss.

    accuracy: None where answers are free text, whose looks at the validation rows measure the loss of the reference alone.
    """

    accuracy: float | None
    loss: float

    def beats(self, other: "Quality | None") -> bool:
        if other is None:
            return True
        if math.isnan(self.loss):
            return False
        return (self.accuracy or 0.0, -self.loss) > (other.accuracy or 0.0, -other.loss)


@dataclass
class CurvePoint:
    """One look during training: at the validation rows, or at train rows that were set aside to choose the step."""

    step: int
    train_loss: float | None
    seconds: float
    validation_accuracy: float | None = None
    validation_loss: float | None = None
    inner_accuracy: float | None = None
    inner_loss: float | None = None


@dataclass(frozen=True)
class LossPoint:
    """Mean train loss of the `steps` steps up to `step`; `seconds` of training until then."""

    step: int
    seconds: float
    train_loss: float
    steps: int = 1


@dataclass(frozen=True)
class Progress:
    """One sign of life: what the run is doing and how far it is.

    Args:
        curve, losses: training so far, a bounded number of points each, so that a page can draw it while it goes on.
    """

    phase: str
    step: int = 0
    steps: int = 0
    rows: int = 0
    rows_total: int = 0
    metrics: dict[str, float | None] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    losses: tuple[LossPoint, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; numbers that are not finite become null."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


@dataclass
class Prediction:
    """What an approach says about one row.

    Args:
        loglikelihoods: per label, summed log-likelihood of its answer words (nats); empty for extraction.
        text: the answer as text, a label word or generated.
        prompt_tokens: context tokens of the written prompt and the row, without virtual tokens.
        computed_tokens: tokens that had to be run for this row after the shared prefix was cached.
        seconds: this row's share of the time of its batch.
        scores: per label, what the choice was made by when that is not the summed log-likelihood.
        by_rule: what each other scoring rule would have chosen, where it was asked for.
        error: why there is no answer, or None.
        skipped: the row was left out on purpose, because it is too long.
        quality: of a free answer: exact_match, token_f1, rouge_l, chrf and, where a form was asked for, format; 0 to 1.
        format_problem: what is wrong with the form of a free answer, or None.
        was_cut: a free answer was as long as allowed before it had ended.
        first_text, first_prompt: what the first of two steps wrote and read; the token counts and the seconds are those of both.
    """

    id: str
    expected: str
    predicted: str | None = None
    loglikelihoods: dict[str, float] = field(default_factory=dict)
    text: str = ""
    prompt_tokens: int = 0
    fixed_tokens: int = 0
    row_tokens: int = 0
    virtual_tokens: int = 0
    completion_tokens: int = 0
    computed_tokens: int = 0
    seconds: float = 0.0
    error: str | None = None
    skipped: bool = False
    scores: dict[str, float] | None = None
    by_rule: dict[str, str] | None = None
    prompt: str | None = None
    quality: dict[str, float] | None = None
    format_problem: str | None = None
    was_cut: bool = False
    first_text: str | None = None
    first_prompt: str | None = None

    @property
    def is_correct(self) -> bool:
        if self.quality is not None:
            return bool(self.quality["exact_match"])
        return self.error is None and self.predicted == self.expected

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; what is optional only where it says something."""
        plain = asdict(self)
        for name in ("scores", "by_rule", "prompt", "quality", "format_problem", "was_cut", "first_text", "first_prompt"):
            if plain[name] is None or plain[name] is False:
                del plain[name]
        return plain


@dataclass
class Metrics:
    """Figures of one evaluated file. Shares are 0-1 over ALL rows; rows without an answer count as wrong.

    Of unlabelled rows only counts, tokens and times are known; `correct` and `accuracy` are None.
    `accuracy_by_rule` is what the same scores would have given under each other scoring rule: recorded, never chosen by.
    """

    n: int
    correct: int | None
    errors: int
    skipped: int
    accuracy: float | None
    macro_f1: float | None = None
    log_loss: float | None = None
    calibration_error: float | None = None
    exact_match: float | None = None
    token_f1: float | None = None
    rouge_l: float | None = None
    chrf: float | None = None
    format_share: float | None = None
    accuracy_by_rule: dict[str, float] = field(default_factory=dict)
    per_label: dict[str, dict[str, float]] = field(default_factory=dict)
    mean_tokens: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    rows_per_second: float = 0.0


@dataclass
class TrainingRecord:
    """How training went. Step 0 is the untrained start and always a candidate.

    sweep_seconds: training and looks of the other configurations that were tried before this one was kept.
    """

    steps: int = 0
    best_step: int = 0
    curve: list[CurvePoint] = field(default_factory=list)
    losses: list[LossPoint] = field(default_factory=list)
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    label_tokens: int = 0
    row_tokens: int = 0
    skipped_steps: int = 0
    micro_batch_size: int = 0
    stopped_early: bool = False
    resumed_from: int | None = None
    validation_source: str = ""
    sweep_seconds: float = 0.0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrainingRecord":
        """The record that `asdict` made plain."""
        curve = [CurvePoint(**point) for point in value["curve"]]
        losses = [LossPoint(**point) for point in value.get("losses", [])]
        return cls(**{**value, "curve": curve, "losses": losses})


@dataclass
class ArtifactRecord:
    """The folder of a tuned part."""

    folder: str
    files: dict[str, str]
    bytes: int


@dataclass
class Forgetting:
    """Mean loss a token (nats) on a fixed text that has nothing to do with the task, before and after tuning."""

    before: float
    after: float
    tokens: int


@dataclass
class RunResult:
    """Everything a run has to say; predictions lie beside it, one file an evaluation."""

    id: str
    state: str
    method: str
    options: dict[str, Any]
    seed: int
    metrics: dict[str, Metrics] = field(default_factory=dict)
    training: TrainingRecord | None = None
    parameters: dict[str, int] = field(default_factory=dict)
    artifact: ArtifactRecord | None = None
    forgetting: Forgetting | None = None
    learned_tokens: dict[str, Any] | None = None
    ablation: dict[str, Any] | None = None
    sweep: dict[str, Any] = field(default_factory=dict)
    distillation: dict[str, Any] | None = None
    peak_memory_bytes: int = 0
    timings: dict[str, float] = field(default_factory=dict)
    device: str = ""
    device_name: str = ""
    threads: int = 0
    dtype: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    frame: dict[str, Any] = field(default_factory=dict)
    written: dict[str, Any] = field(default_factory=dict)
    shared_prefix: str = ""
    endpoint: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    predictions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; numbers that are not finite become null."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


def finite(value: Any) -> Any:
    """The same plain value, with numbers that are not finite as None, for JSON knows none of them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def storable(text: str) -> str:
    """Text that a model wrote, as every database keeps it: NUL and halves of characters replaced."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(finite(value), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def write_predictions(path: Path, predictions: list[Prediction]) -> None:
    """Write one JSON line a prediction, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as lines:
        for prediction in predictions:
            lines.write(json.dumps(finite(prediction.to_json()), ensure_ascii=False) + "\n")
    partial.replace(path)

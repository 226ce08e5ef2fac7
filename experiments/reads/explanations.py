"""What a soft prompt has learned: near words, norm and drift from the run, worth of each token once somebody has asked. Reads only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from experiments.evidence.rates import Estimate, paired_difference
from experiments.models import Artifact, Job, Run
from experiments.presence import job_health


@dataclass(frozen=True)
class LearnedToken:
    """One learned token.

    Args:
        nearest: (word, cosine similarity), the nearest first.
        norm_share: its length as a multiple of the mean word's.
        drift: distance from its start; drift_share: as a multiple of the mean word's length.
        start_similarity: cosine with its start.
        change: accuracy without it minus accuracy with it, with its interval; None before it was asked for and for free answers.
        lost, won: rows that are right only with, and only without it.
        loss_change: nats a row that the right answer becomes less likely without it.
    """

    place: int
    nearest: tuple[tuple[str, float], ...]
    norm: float
    norm_share: float | None
    drift: float
    drift_share: float | None
    start_similarity: float
    change: Estimate | None = None
    lost: int | None = None
    won: int | None = None
    loss_change: float | None = None

    @property
    def matters(self) -> bool:
        """Whether the accuracy changes by more than chance explains."""
        change = self.change
        return change is not None and change.low is not None and change.high is not None and not change.low <= 0 <= change.high


@dataclass(frozen=True)
class Explanation:
    """The learned tokens of one run.

    Args:
        num_tokens: how many there are; the engine describes the first 256.
        rows: validation rows of the ablation; accuracy and loss with all tokens on them.
        job: the ablation's job, or None before it was asked for.
    """

    tokens: tuple[LearnedToken, ...]
    num_tokens: int
    rows: int | None
    accuracy: float | None
    loss: float | None
    job: Job | None

    @property
    def is_going_on(self) -> bool:
        return self.job is not None and not self.job.has_ended

    @property
    def health(self) -> str | None:
        """A sentence when no worker is there to measure."""
        return job_health(self.job)

    @property
    def is_measured(self) -> bool:
        return self.rows is not None

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        tokens = [
            {**asdict(token), "nearest": [{"text": text, "similarity": close} for text, close in token.nearest]} for token in self.tokens
        ]
        state = self.job.state if self.job else "not asked"
        measured = {"rows": self.rows, "accuracy": self.accuracy, "loss": self.loss}
        said = {"state": state, "error": self.job.error if self.job else "", "waiting_for": [self.health] if self.health else []}
        return {**said, "num_tokens": self.num_tokens, **measured, "tokens": tokens}


def explanation_of(run: Run) -> Explanation | None:
    """What is known of a run's learned tokens; None where it has none."""
    learned = run.result.get("learned_tokens")
    artifact = Artifact.objects.select_related("explain_job").filter(run=run).first()
    if not learned or artifact is None:
        return None
    measured = artifact.explanation
    changes = measured.get("tokens") or []
    size = learned.get("mean_word_norm") or 0.0
    tokens = tuple(
        _token(place, found, changes[place - 1] if place <= len(changes) else {}, size, measured.get("rows") or 0)
        for place, found in enumerate(learned["tokens"], start=1)
    )
    count = artifact.manifest.get("virtual_tokens") or len(tokens)
    return Explanation(
        tokens, max(count, len(tokens)), measured.get("rows"), measured.get("accuracy"), measured.get("loss"), artifact.explain_job
    )


def _token(place: int, found: Mapping[str, Any], change: Mapping[str, Any], size: float, rows: int) -> LearnedToken:
    lost, won = change.get("lost"), change.get("won")
    return LearnedToken(
        place=place,
        nearest=tuple((near["text"], near["similarity"]) for near in found["nearest"]),
        norm=found["norm"],
        norm_share=found["norm"] / size if size else None,
        drift=found["drift"],
        drift_share=found["drift"] / size if size else None,
        start_similarity=found["start_similarity"],
        change=paired_difference(won, lost, rows) if won is not None and lost is not None and rows else None,
        lost=lost,
        won=won,
        loss_change=change.get("loss_change"),
    )

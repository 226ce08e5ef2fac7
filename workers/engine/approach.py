"""An approach ready to answer rows: a prompt with or without a tuned part, or a plain baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from workers.engine.answering.generation import Generator, limits_met, predict_texts
from workers.engine.answering.predicting import predict_labels
from workers.engine.answering.probe import scoring_reason, writing_reason
from workers.engine.answering.scoring import Scorer
from workers.engine.baselines import Predict
from workers.engine.contract.outcome import ArtifactRecord, Prediction, TrainingRecord
from workers.engine.contract.recipes import METHODS
from workers.engine.contract.spec import Item
from workers.engine.errors import Unsupported
from workers.engine.methods.artifacts import save_artifact
from workers.engine.methods.explaining import ablate, num_rows_for
from workers.engine.methods.tuned import Tuning
from workers.engine.model.backbone import Backbone
from workers.engine.model.families import sliding_reason
from workers.engine.passes.answers import AnswerTrie
from workers.engine.passes.prefix import PrefixStates, Virtual, prefix_of
from workers.engine.prompts.frame import EncodedRow, Frame
from workers.engine.rows import read_rows
from workers.engine.run import Run
from workers.engine.training.learning import sample_rows
from workers.engine.written import Written

OnRows = Callable[[int], None]


class Approach(Protocol):
    """What a run needs from any contender."""

    def predict(self, items: Sequence[Item], on_rows: OnRows) -> list[Prediction]:
        """An answer for every row, in order."""

    def answerable(self, items: Sequence[Item]) -> list[Item]:
        """The rows that can be asked at all: those that fit into the model with this prompt. Nothing is answered."""

    def warm(self) -> Callable[[Item], object]:
        """A function that answers one row as a served request would, everything cacheable already cached."""

    def save(self, folder: Path) -> ArtifactRecord | None:
        """Leave the tuned part in a folder; None when there is nothing to keep."""

    def facts(self) -> dict[str, Any]:
        """Fields of the result that only the approach knows."""

    def release(self) -> None:
        """Give the backbone back as it was."""


@dataclass
class Prompted:
    """A written prompt, a tuned part, or both, on a backbone.

    Args:
        is_answer: what it writes is compared with the rows' references; the first of two steps writes for the second.
    """

    run: Run
    frame: Frame
    tuning: Tuning | None = None
    training: TrainingRecord | None = None
    written: Written | None = None
    learned: dict[str, Any] = field(default_factory=dict)
    is_answer: bool = True
    plain_reason: str | None = field(init=False)
    probed: bool = field(init=False)

    def __post_init__(self) -> None:
        self.plain_reason = self.backbone.plain_reason
        self.probed = self.plain_reason is not None

    @property
    def backbone(self) -> Backbone:
        return self.frame.backbone

    def virtual(self) -> Virtual:
        """The learned part, fixed."""
        if self.tuning is None:
            return Virtual()
        with torch.no_grad():
            return self.tuning.virtual()

    def predict(self, items: Sequence[Item], on_rows: OnRows) -> list[Prediction]:
        """An answer for every row, in order; labels are scored, extractions are written."""
        if not self.probed:
            self._probe(items)
        told = len(self.frame.warnings)  # what the probe's rows made it say is said again for all rows
        predictions = self._write(items, on_rows) if self.frame.trie is None else self._score(self.frame.trie, items, on_rows)
        self.run.warnings += self.frame.warnings[told:]
        return self._with_search(predictions, items)

    def answerable(self, items: Sequence[Item]) -> list[Item]:
        """The rows that fit into the model with this prompt."""
        return [row.item for row in self.frame.encode(items) if row.error is None]

    def warm(self) -> Callable[[Item], object]:
        """One request at a time; the text before the row is run once, now."""
        if self.frame.trie is None:
            return self._warm_writer()
        scorer = Scorer(self.backbone, self.frame.trie, self.virtual(), self.plain_reason)
        if self.whole_reason():
            return lambda item: predict_labels(self.frame, scorer, [item])
        opening, prefix = self._opening(scorer.virtual)
        return lambda item: scorer.score_one(self.frame.encode([item])[0].ids, opening, prefix)

    def whole_reason(self) -> str | None:
        """Why rows, or some of them, were run whole; None when all shared their prefix."""
        answer = self.frame.trie.longest() if self.frame.trie else self.run.spec.generation.max_new_tokens
        longest = self.frame.longest + self.virtual().length + answer
        return self.plain_reason or sliding_reason(self.backbone.sliding, longest)

    def save(self, folder: Path) -> ArtifactRecord | None:
        """Leave the tuned part, if there is one, in a folder."""
        if self.tuning is None:
            return None
        return save_artifact(folder, self.run.spec, self.frame, self.tuning)

    def facts(self) -> dict[str, Any]:
        """Backbone, frame, parameters, training and how the prefix was run."""
        trained = sum(parameter.numel() for parameter in self.tuning.trained()) if self.tuning else len(self._label_bias())
        added = 0 if METHODS[self.run.spec.recipe.method].replaces_weights else trained
        return {
            "training": self.training,
            "parameters": {"trainable": trained, "total": self.backbone.parameter_count() + added},
            "backbone": {**self.backbone.facts, "fingerprint": self.backbone.weights_hash},
            "frame": self.frame.facts(),
            **self.learned,
            "shared_prefix": f"plain: {reason}" if (reason := self.whole_reason()) else "shared",
            "dtype": str(self.backbone.dtype).removeprefix("torch."),
            "written": self.written.facts if self.written else {},
        }

    def ablate(self) -> dict[str, Any]:
        """What each learned token is worth on a sample of the validation rows.

        Raises:
            Unsupported: the method has no learned tokens of its own.
        """
        spec, virtual = self.run.spec, self.virtual()
        if virtual.vectors is None or spec.validation is None:
            raise Unsupported("Only learned tokens can be taken out one by one; this approach has none. Explain a soft prompt or a hybrid.")
        encoded = self.frame.encode(read_rows(spec.validation, spec.labels, spec.max_rows))
        rows = [row for row in encoded if row.error is None and self.frame.can_be_answered(row.item)]
        rows = sample_rows(rows, num_rows_for(len(virtual.vectors)), spec.seed)
        with torch.inference_mode():
            return ablate(self.frame, virtual, rows, self._is_plain(rows), self.run.report)

    def _is_plain(self, rows: Sequence[EncodedRow]) -> bool:
        ids = [row.ids for row in rows[:2]]
        if self.frame.trie is None:
            return writing_reason(self.backbone, self.virtual(), ids) is not None
        return scoring_reason(Scorer(self.backbone, self.frame.trie, self.virtual()), ids) is not None

    def release(self) -> None:
        """Take the tuned part off the backbone."""
        if self.tuning is not None:
            self.tuning.remove()
        self.backbone.model.requires_grad_(False).eval()

    def _score(self, trie: AnswerTrie, items: Sequence[Item], on_rows: OnRows) -> list[Prediction]:
        scorer = Scorer(self.backbone, trie, self.virtual(), self.plain_reason, on_rows)
        return predict_labels(self.frame, scorer, items, self._label_bias(), by_rules=True)

    def _write(self, items: Sequence[Item], on_rows: OnRows) -> list[Prediction]:
        generator = Generator(self.backbone, self.run.spec.generation, self.virtual(), self.plain_reason, on_rows)
        made = predict_texts(self.frame, generator, items)
        self.run.warnings += limits_met(self.frame, items, made) if self.is_answer else []
        return made

    def _warm_writer(self) -> Callable[[Item], object]:
        generator = Generator(self.backbone, self.run.spec.generation, self.virtual(), self.plain_reason)
        opening, prefix = ((), None) if self.whole_reason() else self._opening(generator.virtual)
        return lambda item: generator.text_of(generator.write_one(self.frame.encode([item])[0].ids, item.id, opening, prefix))

    def _opening(self, virtual: Virtual) -> tuple[tuple[int, ...], PrefixStates | None]:
        """The ids that every row begins with, and the states of them behind the learned part."""
        opening = () if self.frame.replaced else self.frame.opening_ids
        with torch.inference_mode():
            return opening, prefix_of(self.backbone.model, virtual, opening)

    def _label_bias(self) -> dict[str, float]:
        return self.written.label_bias if self.written else {}

    def _with_search(self, predictions: list[Prediction], items: Sequence[Item]) -> list[Prediction]:
        """Count the tokens that were run to find each row's own examples."""
        neighbours = self.written.neighbours if self.written else None
        if neighbours:
            for prediction, item in zip(predictions, items, strict=True):
                prediction.computed_tokens += neighbours.tokens_of(item)
        return predictions

    def _probe(self, items: Sequence[Item]) -> None:
        """Ask the model on two rows whether a shared prefix gives what whole rows give."""
        rows = [row.ids for row in self.frame.encode(list(items[:2])) if row.error is None]
        if rows:
            self.plain_reason = self._reason_on(rows)
            self.probed = True

    def _reason_on(self, rows: Sequence[Sequence[int]]) -> str | None:
        if self.frame.trie is None:
            return writing_reason(self.backbone, self.virtual(), rows)
        return scoring_reason(Scorer(self.backbone, self.frame.trie, self.virtual(), self.plain_reason), rows)


@dataclass
class Baseline:
    """A plain baseline; only the linear probe holds a backbone."""

    run: Run
    believe: Predict
    backbone: Backbone | None = None

    def predict(self, items: Sequence[Item], on_rows: OnRows) -> list[Prediction]:
        """A label for every row with log-probabilities; there are no tokens to count."""
        labels = self.run.spec.labels
        beliefs = self.believe(items)
        on_rows(len(items))
        predictions = []
        for item, row in zip(items, beliefs.tolist(), strict=True):
            best = labels[max(range(len(labels)), key=row.__getitem__)]
            scores = dict(zip(labels, row, strict=True))
            predictions.append(Prediction(item.id, item.label, predicted=best, loglikelihoods=scores, text=best))
        return predictions

    def answerable(self, items: Sequence[Item]) -> list[Item]:
        """All of them."""
        return list(items)

    def warm(self) -> Callable[[Item], object]:
        """One request at a time."""
        return lambda item: self.believe([item])

    def save(self, folder: Path) -> None:
        """Nothing is kept: a baseline is fitted again in moments."""
        del folder

    def facts(self) -> dict[str, Any]:
        """The backbone, where there is one."""
        facts: dict[str, Any] = {"shared_prefix": "none"}
        if self.backbone:
            facts["backbone"] = {**self.backbone.facts, "fingerprint": self.backbone.weights_hash}
        return facts

    def release(self) -> None:
        """Nothing was changed."""

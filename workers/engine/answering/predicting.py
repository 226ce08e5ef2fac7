"""Rows of an evaluation -> predictions: frame, scorer and rule of choice joined. Knows no training and no files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from workers.engine.answering.scoring import RowScores, Scorer, label_scores
from workers.engine.contract.outcome import Prediction
from workers.engine.contract.spec import Item
from workers.engine.prompts.frame import EncodedRow, Frame

RULES = ("sum", "mean", "prior_corrected")


def predict_labels(
    frame: Frame, scorer: Scorer, items: Sequence[Item], bias: Mapping[str, float] | None = None, *, by_rules: bool = False
) -> list[Prediction]:
    """A label for every row, in the order of the rows; rows that cannot be run carry the reason.

    Args:
        frame: how rows are put into words.
        scorer: the approach.
        items: the rows.
        bias: {label: number added to its score}, fitted on train rows.
        by_rules: also note what each other rule would choose, at the cost of one more row.
    """
    encoded = frame.encode(items)
    usable = [row for row in encoded if row.error is None]
    scores = scorer.score([row.ids for row in usable]) if usable else None
    chosen_by = _chosen_by(frame, scorer, scores, bias) if scores else torch.empty(0)
    others = _other_rules(frame, scorer, scores) if scores and by_rules else {}
    predictions = []
    place = 0
    for row in encoded:
        prediction = blank_prediction(frame, scorer.virtual.length, row)
        if row.error is None and scores is not None:
            _fill(prediction, frame, scores, chosen_by[place], place)
            prediction.by_rule = {rule: frame.spec.labels[choices[place]] for rule, choices in others.items()} or None
            place += 1
        predictions.append(prediction)
    return predictions


def blank_prediction(frame: Frame, virtual_tokens: int, row: EncodedRow) -> Prediction:
    """A prediction that knows its row and its token counts, not yet its answer."""
    return Prediction(
        id=row.item.id,
        expected=row.item.label,
        prompt_tokens=len(row.ids),
        fixed_tokens=row.fixed_tokens,
        row_tokens=row.row_tokens,
        virtual_tokens=virtual_tokens,
        error=row.error,
        skipped=row.error is not None,
        prompt=row.text if frame.spec.keep_prompts else None,
    )


def _fill(prediction: Prediction, frame: Frame, scores: RowScores, chosen_by: Tensor, place: int) -> None:
    labels = frame.spec.labels
    best = int(chosen_by.argmax())
    prediction.predicted = labels[best]
    prediction.text = frame.spec.words_of(labels[best])[0]
    prediction.loglikelihoods = dict(zip(labels, scores.labels[place].tolist(), strict=True))
    if not torch.equal(chosen_by, scores.labels[place]):
        prediction.scores = dict(zip(labels, chosen_by.tolist(), strict=True))
    prediction.completion_tokens = len(frame.answers_of(labels[best])[0].ids)
    prediction.computed_tokens = scores.computed_tokens[place]
    prediction.seconds = scores.seconds[place]


def _chosen_by(frame: Frame, scorer: Scorer, scores: RowScores, bias: Mapping[str, float] | None) -> Tensor:
    """[N, C] what the choice is made by: the scores under the run's rule, and the label bias where one was fitted."""
    by_rule = _by_rule(frame.spec.score, frame, scorer, scores)
    if not bias:
        return by_rule
    return by_rule + torch.tensor([bias[label] for label in frame.spec.labels])


def _by_rule(rule: str, frame: Frame, scorer: Scorer, scores: RowScores) -> Tensor:
    """[N, C] the sum, the mean per token, or the sum less what the bare prompt says.

    Source of the correction: Zhao et al. 2021, Calibrate Before Use, in the log domain with an empty row.
    """
    if rule == "mean":
        return label_scores(scores.answers / torch.tensor([len(a.ids) for a in scorer.trie.answers]), scorer.trie)
    if rule == "prior_corrected":
        empty = Item("", dict.fromkeys(frame.template.slots(), ""), "")
        silent = replace(scorer, on_rows=None)
        return scores.labels - silent.score([row.ids for row in frame.encode([empty])]).labels
    return scores.labels


def _other_rules(frame: Frame, scorer: Scorer, scores: RowScores) -> dict[str, list[int]]:
    """Per rule that is not the run's own, the index of the label that it would choose for each row.

    An empty row says nothing where rows have their own examples, or where a learned prompt stands in place of the text.
    """
    fits = {"prior_corrected": frame.examples_of is None and not frame.replaced}
    rules = [rule for rule in RULES if rule != frame.spec.score and fits.get(rule, True)]
    return {rule: _by_rule(rule, frame, scorer, scores).argmax(1).tolist() for rule in rules}

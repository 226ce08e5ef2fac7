"""The ONE scoring path: every approach, hard or tuned, is scored by this module. It knows token ids, not templates or files."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from workers.engine.model.backbone import Backbone
from workers.engine.model.families import sliding_reason
from workers.engine.model.splitting import split_when_scarce
from workers.engine.passes.abreast import run_abreast
from workers.engine.passes.answers import AnswerTrie
from workers.engine.passes.batching import buckets, even_buckets, line_batch, tree_batch
from workers.engine.passes.forward import plain_pass, shared_pass
from workers.engine.passes.prefix import NO_VIRTUAL, PrefixStates, Virtual, prefix_of
from workers.engine.passes.seq2seq import answer_logits, read_rows
from workers.engine.prompts.frame import common_prefix

# Sized for a processor's caches: larger batches of a small model are slower, not faster. Logits count per batch that runs abreast.
MAX_TOKENS = 512
MAX_TOKENS_ON_GPU = 16384
MAX_ROWS = 512
MAX_LOGITS = 1 << 23
MAX_LOGITS_ON_GPU = 1 << 28


@dataclass(frozen=True)
class RowScores:
    """Scores of N rows.

    Args:
        answers: [N, answers] summed log-likelihood of every answer, terminator included (nats).
        labels: [N, C] the same per label; several words of a label are added as probabilities.
        seconds: per row, its share of the time of its batch.
        computed_tokens: per row, tokens run for it behind the shared prefix.
        prefix_tokens: tokens of the shared prefix, run once.
    """

    answers: Tensor
    labels: Tensor
    seconds: tuple[float, ...]
    computed_tokens: tuple[int, ...]
    prefix_tokens: int


@dataclass(frozen=True)
class Scorer:
    """Everything that scoring needs besides rows.

    Args:
        backbone: the frozen model; adapters, if any, are active in its modules.
        trie: all answers.
        virtual: the learned part in front of rows.
        plain_reason: why the shared prefix must not be used, or None when it may.
        on_rows: called with the number of rows done after each batch; may raise to stop.
    """

    backbone: Backbone
    trie: AnswerTrie
    virtual: Virtual = NO_VIRTUAL
    plain_reason: str | None = None
    on_rows: Callable[[int], None] | None = None

    def score(self, rows: Sequence[Sequence[int]]) -> RowScores:
        """Log-likelihoods of every answer for every row.

        Args:
            rows: context ids of each row without virtual tokens, at least one each.
        """
        with torch.inference_mode():
            return self._score_plain(rows) if self.reason_for(rows) else self._score_shared(rows)

    def reason_for(self, rows: Sequence[Sequence[int]]) -> str | None:
        """Why these rows are run whole, or None when they share their prefix."""
        longest = max(map(len, rows)) + self.virtual.length + self.trie.longest()
        return self.plain_reason or self.backbone.plain_reason or sliding_reason(self.backbone.sliding, longest)

    def score_one(self, row: Sequence[int], opening: Sequence[int], prefix: PrefixStates | None) -> Tensor:
        """[C] scores of one row behind a prefix that was run before, as a served request is answered.

        Args:
            row: context ids.
            opening: ids that `prefix` holds besides the learned part; a row that does not begin with them is run anew.
            prefix: states of learned part and opening.
        """
        with torch.inference_mode():
            if tuple(row[: len(opening)]) != tuple(opening) or len(row) == len(opening):
                return self.score([row]).labels[0]
            return label_scores(self.tree_scores([row[len(opening) :]], prefix).float().cpu(), self.trie)[0]

    def _score_shared(self, rows: Sequence[Sequence[int]]) -> RowScores:
        shared = shared_ids(rows)
        prefix = prefix_of(self.backbone.model, self.virtual, shared)
        suffixes = [row[len(shared) :] for row in rows]
        return self._score_batches(suffixes, self.trie.num_nodes, lambda group: self.tree_scores(group, prefix), len(shared))

    def _score_plain(self, rows: Sequence[Sequence[int]]) -> RowScores:
        extra = self.trie.longest() - 1 + self.virtual.length
        return self._score_batches(rows, extra, self.line_scores, 0)

    def _score_batches(
        self, rows: Sequence[Sequence[int]], extra: int, score: Callable[[Sequence[Sequence[int]]], Tensor], prefix_tokens: int
    ) -> RowScores:
        lengths = [len(row) for row in rows]
        answers = torch.empty(len(rows), len(self.trie.answers))
        seconds = torch.empty(len(rows), dtype=torch.float64)
        num_done = 0

        def timed(group: Sequence[int]) -> tuple[Tensor, float]:
            started = time.perf_counter()
            found = split_when_scarce(lambda part: score([rows[index] for index in part]).float().cpu(), group, torch.cat)
            return found, time.perf_counter() - started

        def note(group: Sequence[int], found: tuple[Tensor, float]) -> None:
            nonlocal num_done
            answers[group], seconds[group] = found[0], found[1] / len(group)
            num_done += len(group)
            if self.on_rows:
                self.on_rows(num_done)

        groups = scoring_groups(self.backbone, lengths, extra, self.trie.num_positions)
        # A batch that runs beside others has only its share of the machine.
        seconds /= run_abreast(timed, groups, self.backbone.device, note)
        computed = tuple(length + extra for length in lengths)
        return RowScores(answers, label_scores(answers, self.trie), tuple(seconds.tolist()), computed, prefix_tokens)

    def tree_scores(self, rows: Sequence[Sequence[int]], prefix: PrefixStates | None) -> Tensor:
        """[B, answers] of rows behind a prefix already run, all in one pass; differentiable.

        Args:
            rows: context ids without those that the prefix holds.
        """
        batch = tree_batch(rows, self.trie).to(self.backbone.device)
        logits = shared_pass(self.backbone.model, prefix, batch)
        return sum_steps(logits.view(batch.size, self.trie.num_positions, -1), self.trie)

    def line_scores(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """[B, answers], one whole sequence a row and answer: the slow, obvious way. An encoder still reads each row once."""
        if self.backbone.is_encoder_decoder:
            return self._decoder_scores(rows)
        columns = []
        for answer in self.trie.answers:
            batch = line_batch(rows, [answer.ids] * len(rows)).to(self.backbone.device)
            columns.append(_line_sums(plain_pass(self.backbone.model, self.virtual, batch), batch.targets, len(answer.ids)))
        return torch.stack(columns, dim=1)

    def _decoder_scores(self, rows: Sequence[Sequence[int]]) -> Tensor:
        read = read_rows(self.backbone.model, self.virtual, rows)
        columns = []
        for answer in self.trie.answers:
            logits = answer_logits(self.backbone.model, read, [answer.ids] * len(rows))
            targets = torch.tensor(answer.ids, device=logits.device).repeat(len(rows))
            columns.append(_line_sums(logits, targets, len(answer.ids)))
        return torch.stack(columns, dim=1)


def _line_sums(logits: Tensor, targets: Tensor, answer_length: int) -> Tensor:
    """[B] from [B * answer_length, V]: what the tokens of each row's answer add up to."""
    found = logits.gather(1, targets[:, None])[:, 0].float() - log_normaliser(logits)
    return found.view(-1, answer_length).sum(1)


def line_scores(
    backbone: Backbone, virtual: Virtual, contexts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], plain: bool = False
) -> Tensor:
    """[N] summed log-likelihood of one given answer a row, for answers that are free text.

    Args:
        contexts: context ids of each row without virtual tokens.
        answers: ids of each row's answer, terminator included.
        plain: run whole sequences even where the model could share the prefix.
    """
    lengths = [len(row) + len(answer) for row, answer in zip(contexts, answers, strict=True)]
    plain = plain or bool(backbone.plain_reason or sliding_reason(backbone.sliding, max(lengths) + virtual.length))
    found = torch.empty(len(contexts))
    with torch.inference_mode():
        shared = () if plain else shared_ids(contexts)
        prefix = None if plain else prefix_of(backbone.model, virtual, shared)

    def score(group: Sequence[int]) -> Tensor:
        rows = [contexts[index][len(shared) :] for index in group]
        batch = line_batch(rows, [answers[index] for index in group]).to(backbone.device)
        model = backbone.model
        logits = plain_pass(model, virtual, batch) if plain else shared_pass(model, prefix, batch)
        each = logits.gather(1, batch.targets[:, None])[:, 0].float() - log_normaliser(logits)
        sizes = [len(answers[index]) for index in group]
        return torch.stack([part.sum() for part in torch.split(each, sizes)]).cpu()

    groups = scoring_groups(backbone, lengths, 0, max(map(len, answers)))
    run_abreast(lambda group: split_when_scarce(score, group, torch.cat), groups, backbone.device, found.__setitem__)
    return found


def scoring_groups(backbone: Backbone, lengths: Sequence[int], extra: int, positions: int, at_once: int | None = None) -> list[list[int]]:
    """Batches of rows that fit the device, `positions` of each row being projected onto the vocabulary.

    Args:
        at_once: how many of them run side by side; as many as there are threads unless told.
    """
    on_gpu = backbone.device.type == "cuda"
    most_logits = MAX_LOGITS_ON_GPU if on_gpu else MAX_LOGITS
    rows = max(1, min(MAX_ROWS, most_logits // (positions * backbone.model.config.vocab_size)))
    if on_gpu:
        return list(buckets(lengths, extra, MAX_TOKENS_ON_GPU, rows))
    return even_buckets(lengths, extra, MAX_TOKENS, rows, at_once or torch.get_num_threads())


def label_scores(answers: Tensor, trie: AnswerTrie) -> Tensor:
    """[N, C] from [N, answers]; the probabilities of a label's words add up."""
    names = [answer.label for answer in trie.answers]
    places = [[i for i, name in enumerate(names) if name == label] for label in dict.fromkeys(names)]
    return torch.stack([answers[:, place].logsumexp(1) for place in places], dim=1)


def shared_ids(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Ids that all rows begin with, one token short of the shortest row, which needs a position to predict from."""
    shared = common_prefix(rows)
    return shared[: min(len(shared), min(map(len, rows)) - 1)]


def sum_steps(logits: Tensor, trie: AnswerTrie) -> Tensor:
    """[B, answers] from [B, 1 + M, V]: along each answer's path, the log-probability of its next token."""
    position, token, answer = (
        torch.tensor(column, device=logits.device)
        for column in zip(*((p, t, i) for i, path in enumerate(trie.steps) for p, t in path), strict=True)
    )
    found = logits[:, position, token].float() - log_normaliser(logits)[:, position]
    return found.new_zeros(len(logits), len(trie.answers)).index_add_(1, answer, found)


def log_normaliser(logits: Tensor) -> Tensor:
    """[...] logarithm of the sum of exponentials over the last axis of [..., V], in fp32.

    On a processor a few positions at a time, so that the fp32 copy stays in its cache, and through log_softmax, whose one pass over
    them is faster than the steps of logsumexp.
    """
    flat = logits.reshape(-1, logits.shape[-1])
    if flat.device.type != "cpu":
        return flat.float().logsumexp(-1).view(logits.shape[:-1])
    found = torch.cat([part[:, 0].float() - functional.log_softmax(part, -1, dtype=torch.float32)[:, 0] for part in torch.split(flat, 8)])
    if not bool(found.isfinite().all()):  # the first token may be barred, so that its probability says nothing
        found = flat.float().logsumexp(-1)
    return found.view(logits.shape[:-1])

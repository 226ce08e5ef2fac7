"""Free answers: greedy or sampled, behind the same frame and the same shared prefix as scoring. Knows no metric."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from workers.engine.answering.predicting import blank_prediction
from workers.engine.answering.scoring import shared_ids
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.outcome import Prediction, storable
from workers.engine.contract.spec import Item
from workers.engine.model.backbone import Backbone
from workers.engine.model.families import sliding_reason
from workers.engine.model.splitting import split_when_scarce
from workers.engine.passes.batching import buckets, line_batch
from workers.engine.passes.forward import plain_pass
from workers.engine.passes.prefix import NO_VIRTUAL, PrefixStates, Virtual, prefix_of
from workers.engine.prompts.frame import Frame

MAX_ROWS = 32
MAX_TOKENS = 4096


@dataclass(frozen=True)
class Generator:
    """Writes an answer for each row, until the terminator, a stop text or the longest allowed length.

    Args:
        backbone: the frozen model; adapters, if any, are active in its modules.
        rules: greedy or sampled, how long, and where to stop.
        virtual: the learned part in front of rows.
        plain_reason: why no states may be kept from token to token, or None when they may.
        on_rows: called with the number of rows done after each batch; may raise to stop.
    """

    backbone: Backbone
    rules: Generation
    virtual: Virtual = NO_VIRTUAL
    plain_reason: str | None = None
    on_rows: Callable[[int], None] | None = None

    def write(self, rows: Sequence[Sequence[int]], names: Sequence[str] | None = None) -> tuple[list[list[int]], list[float]]:
        """Ids of each row's answer without terminator, and each row's share of seconds.

        Args:
            rows: context ids of each row without virtual tokens, at least one each.
            names: what each row's draws follow besides the seed; its number unless told.
        """
        names = names or [str(number) for number in range(len(rows))]
        written: list[list[int]] = [[] for _ in rows]
        seconds = [0.0] * len(rows)
        plain = self.reason_for(rows) is not None
        with torch.inference_mode():
            shared = rows[0][: self.num_shared(rows)]
            prefix = None if plain else prefix_of(self.backbone.model, self.virtual, shared)

            def answers_of(group: Sequence[int]) -> list[list[int]]:
                few = [rows[index][len(shared) :] for index in group]
                steps = _PlainSteps(self, few) if plain else CachedSteps.behind(self.backbone, few, prefix)
                return self.write_batch(steps, self.draws([names[index] for index in group]))

            done = 0
            for group in buckets([len(row) - len(shared) for row in rows], self.rules.max_new_tokens, MAX_TOKENS, MAX_ROWS):
                started = time.perf_counter()
                answers = split_when_scarce(answers_of, group, lambda parts: list(chain.from_iterable(parts)))
                share = (time.perf_counter() - started) / len(group)
                for index, answer in zip(group, answers, strict=True):
                    written[index], seconds[index] = answer, share
                done += len(group)
                if self.on_rows:
                    self.on_rows(done)
        return written, seconds

    def write_one(self, row: Sequence[int], name: str, opening: Sequence[int], prefix: PrefixStates | None) -> list[int]:
        """One row's answer behind a prefix that was run before, as a served request is answered.

        Args:
            opening: ids that `prefix` holds besides the learned part; a row that does not begin with them is run anew.
        """
        with torch.inference_mode():
            if self.reason_for([row]) or tuple(row[: len(opening)]) != tuple(opening) or len(row) == len(opening):
                return self.write([row], [name])[0][0]
            steps = CachedSteps.behind(self.backbone, [row[len(opening) :]], prefix)
            return self.write_batch(steps, self.draws([name]))[0]

    def reason_for(self, rows: Sequence[Sequence[int]]) -> str | None:
        """Why these rows are run whole for every token, or None when their states are kept."""
        longest = max(map(len, rows)) + self.virtual.length + self.rules.max_new_tokens
        return self.plain_reason or self.backbone.plain_reason or sliding_reason(self.backbone.sliding, longest)

    def num_shared(self, rows: Sequence[Sequence[int]]) -> int:
        """Tokens at the beginning of all rows that are run once for all of them."""
        return 0 if self.reason_for(rows) else len(shared_ids(rows))

    def computed_tokens(self, rows: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[int]:
        """Tokens that were run for each row behind what all rows share: the rest of the row, and the answer but for its last token.

        A row that is run whole begins with the learned part; that it is run anew for every token is not counted.
        """
        ahead = self.virtual.length if self.reason_for(rows) else -self.num_shared(rows)
        return [ahead + len(row) + self.num_tokens(answer) - 1 for row, answer in zip(rows, answers, strict=True)]

    def draws(self, names: Sequence[str]) -> list[list[float]]:
        """[B][max_new_tokens] uniform numbers, each row's its own; empty when nothing is drawn."""
        if not self.rules.is_sampled:
            return [[] for _ in names]
        return [_uniform(f"{self.rules.seed}:{name}", self.rules.max_new_tokens) for name in names]

    def write_batch(self, steps: "Steps", draws: Sequence[Sequence[float]]) -> list[list[int]]:
        """Answers of a batch of rows; it sheds its finished rows once they are half of it.

        Args:
            steps: what comes next in each row.
            draws: of each row (`draws`).
        """
        written: list[list[int]] = [[] for _ in draws]
        live = list(range(len(draws)))
        ended: set[int] = set()
        logits = steps.first()
        for step in range(self.rules.max_new_tokens):
            chosen = self._choose(logits, [draws[row][step : step + 1] for row in live])
            for row, token in zip(live, chosen.tolist(), strict=True):
                if row not in ended and not self._goes_on(written[row], token):
                    ended.add(row)
            kept = [at for at, row in enumerate(live) if row not in ended]
            if not kept or step + 1 == self.rules.max_new_tokens:
                break
            if 2 * len(kept) > len(live):
                kept = list(range(len(live)))
            live = [live[at] for at in kept]
            logits = steps.next(chosen[kept], kept)
        return written

    def _choose(self, logits: Tensor, draws: Sequence[Sequence[float]]) -> Tensor:
        if not self.rules.is_sampled:
            return logits.argmax(-1)
        return sample(logits, self.rules, torch.tensor(draws, device=logits.device))

    def _goes_on(self, answer: list[int], token: int) -> bool:
        if token == self.backbone.terminator_id:
            return False
        answer.append(token)
        return not self._is_stopped(answer)

    def _is_stopped(self, answer: Sequence[int]) -> bool:
        """Whether a stop text stands in the answer; only its end is decoded until there is reason to look at the whole."""
        if not self.rules.stop:
            return False
        longest = max(len(text.encode()) for text in self.rules.stop)  # a token stands for at least one byte
        end = str(self.backbone.tokenizer.decode(answer[-(longest + 4) :]))
        return stop_place(end, self.rules.stop) is not None and stop_place(self._decoded(answer), self.rules.stop) is not None

    def _decoded(self, answer: Sequence[int]) -> str:
        return storable(str(self.backbone.tokenizer.decode(answer, skip_special_tokens=True)).lstrip())

    def num_tokens(self, answer: Sequence[int]) -> int:
        """Tokens that the model wrote for an answer: its terminator counts where it wrote one."""
        wrote_end = len(answer) < self.rules.max_new_tokens and stop_place(self._decoded(answer), self.rules.stop) is None
        return len(answer) + wrote_end

    def is_cut(self, answer: Sequence[int]) -> bool:
        """Whether an answer was as long as allowed before it came to an end."""
        return len(answer) == self.rules.max_new_tokens and stop_place(self._decoded(answer), self.rules.stop) is None

    def text_of(self, answer: Sequence[int]) -> str:
        """An answer as text, cut before the first stop text."""
        text = self._decoded(answer)
        return text[: stop_place(text, self.rules.stop)].strip()


class Steps(Protocol):
    """Rows that are being answered, a token at a time."""

    def first(self) -> Tensor:
        """[B, V] after the rows themselves."""

    def next(self, chosen: Tensor, kept: Sequence[int]) -> Tensor:
        """[kept, V] after one more token of the rows at the places `kept`; the others are dropped."""


class CachedSteps:
    """Right-padded rows whose states are kept: pads stay masked in the cache, new tokens take the row's next position.

    Args:
        rows: ids of each row behind its prefix, at least one each.
        seen: [B, P] bool, which positions of the cache belong to each row's prefix.
        cache: holds the prefixes already; it grows.
    """

    def __init__(self, backbone: Backbone, rows: Sequence[Sequence[int]], seen: Tensor, cache: DynamicCache) -> None:
        self.model, device = backbone.model, backbone.device
        self.batch = line_batch(rows, [(backbone.terminator_id,)] * len(rows), step=1).to(device)
        lengths = torch.tensor(self.batch.lengths, device=device)
        self.own = torch.arange(self.batch.ids.shape[1], device=device)[None, :] < lengths[:, None]
        self.ahead = seen.sum(1)
        self.places = lengths + self.ahead  # position of the token that comes next in each row
        self.seen = torch.cat([seen, self.own], dim=1)
        self.cache = cache

    @classmethod
    def behind(cls, backbone: Backbone, rows: Sequence[Sequence[int]], prefix: PrefixStates | None) -> "CachedSteps":
        """Rows that all stand behind one prefix."""
        seen = torch.ones(len(rows), prefix.length if prefix else 0, dtype=torch.bool, device=backbone.device)
        return cls(backbone, rows, seen, (prefix or PrefixStates((), ())).growing_cache(len(rows)))

    def first(self) -> Tensor:
        """[B, V] after the rows themselves."""
        # A pad behind a row with a long prefix must not ask for a position that the model lacks.
        positions = (self.batch.positions * self.own) + self.ahead[:, None]
        return self._run(self.batch.ids, positions, self.batch.answer_at)

    def next(self, chosen: Tensor, kept: Sequence[int]) -> Tensor:
        """[kept, V] after one more token of the rows at the places `kept`; the others are dropped."""
        if len(kept) < len(self.places):
            index = torch.tensor(kept)  # on the processor: the layers of a large model lie on several GPUs
            self.cache.batch_select_indices(index)
            self.seen, self.places = self.seen[index], self.places[index]
        self.seen = torch.cat([self.seen, self.seen.new_ones(len(kept), 1)], dim=1)
        logits = self._run(chosen[:, None], self.places[:, None], 1)[:, -1]
        self.places = self.places + 1
        return logits

    def _run(self, ids: Tensor, positions: Tensor, answer_at: Any) -> Tensor:
        logits: Tensor = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=self.seen.long(),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=answer_at,
        ).logits
        return logits


class _PlainSteps:
    """Whole sequences run anew for every token: the slow, obvious way, for models whose states cannot be kept."""

    def __init__(self, generator: Generator, rows: Sequence[Sequence[int]]) -> None:
        self.generator = generator
        self.rows = list(rows)
        self.written: list[list[int]] = [[] for _ in rows]

    def first(self) -> Tensor:
        """[B, V] after the last token of each row's answer so far."""
        backbone = self.generator.backbone
        # A line is read at the end of its row and at each written token; the last place says what comes next.
        batch = line_batch(self.rows, [(*answer, backbone.terminator_id) for answer in self.written]).to(backbone.device)
        logits = plain_pass(backbone.model, self.generator.virtual, batch)
        places = batch.answer_at.sum(1).cumsum(0) - 1
        return logits[places.to(logits.device)]

    def next(self, chosen: Tensor, kept: Sequence[int]) -> Tensor:
        self.rows = [self.rows[at] for at in kept]
        self.written = [[*self.written[at], token] for at, token in zip(kept, chosen.tolist(), strict=True)]
        return self.first()


def sample(logits: Tensor, rules: Generation, uniform: Tensor) -> Tensor:
    """[B] tokens drawn by inverting the distribution that temperature and top-p leave.

    Args:
        logits: [B, V]; uniform: [B, 1] numbers from 0 to 1.
    Source: Holtzman et al. 2020, nucleus sampling; the cut is that of transformers' TopPLogitsWarper.
    """
    shares, order = (logits.float() / rules.temperature).softmax(-1).sort(dim=-1, descending=True)
    before = shares.cumsum(-1) - shares
    # The likeliest token is kept whatever top_p says.
    cumulative = shares.masked_fill(before >= rules.top_p, 0.0).cumsum(-1)
    place = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    last = (cumulative < cumulative[:, -1:]).sum(-1, keepdim=True)
    return order.gather(1, torch.minimum(place, last))[:, 0]


def stop_place(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop text begins, or None."""
    return min((place for place in map(text.find, stops) if place >= 0), default=None)


def _uniform(name: str, count: int) -> list[float]:
    """Numbers from 0 to 1 that follow the name alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    numbers: list[float] = torch.rand(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return numbers


def limits_met(frame: Frame, items: Sequence[Item], made: Sequence[Prediction]) -> list[str]:
    """A sentence where references are longer than an answer may be, and one where answers were cut there."""
    most = f"{frame.spec.generation.max_new_tokens:,} tokens"
    beyond, cut = sum(not frame.can_be_answered(item) for item in items), sum(each.was_cut for each in made)
    said = [f"Rows whose reference is longer than the {most} of an answer: {beyond:,}. None can be right. Allow longer answers."]
    return (said if beyond else []) + ([f"Answers cut after {most}, before they had ended: {cut:,} of {len(made):,}."] if cut else [])


def predict_texts(frame: Frame, generator: Generator, items: Sequence[Item]) -> list[Prediction]:
    """A free answer for every row, in the order of the rows; rows that cannot be run carry the reason."""
    encoded = frame.encode(items)
    usable = [row for row in encoded if row.error is None]
    contexts = [row.ids for row in usable]
    answers, seconds = generator.write(contexts, [row.item.id for row in usable]) if usable else ([], [])
    computed = generator.computed_tokens(contexts, answers) if usable else []
    predictions = []
    made = iter(zip(answers, seconds, computed, strict=True))
    for row in encoded:
        prediction = blank_prediction(frame, generator.virtual.length, row)
        if row.error is None:
            ids, prediction.seconds, prediction.computed_tokens = next(made)
            prediction.text = prediction.predicted = generator.text_of(ids)
            prediction.completion_tokens, prediction.was_cut = generator.num_tokens(ids), generator.is_cut(ids)
        predictions.append(prediction)
    return predictions

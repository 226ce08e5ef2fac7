"""a1 to a5: scoring rows, against lm-evaluation-harness and against a loop by hand over one cropped cache.

Both sides get the same token ids; neither tokenizes inside the clock, where the harness would encode every prompt once a label.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from transformers import DynamicCache

from workers.bench.lab import Ids, Lab, trie_of
from workers.bench.machine import is_bf16_fast
from workers.bench.protocol import (
    Clock,
    Entry,
    Rules,
    Side,
    compare,
    details_of,
    in_turn,
    judge,
    median_ratio,
    require_close,
    require_same,
)
from workers.engine.answering.generation import Generator
from workers.engine.answering.scoring import Scorer, shared_ids
from workers.engine.contract.answer_rules import Generation

_ROW = (24, 30)
_LABELS = 4
_FEW = 4


@dataclass(frozen=True)
class Task:
    """Rows and the labels that all of them are scored for."""

    rows: list[Ids]
    labels: list[Ids]

    def few(self, count: int = _FEW) -> "Task":
        """The first rows only."""
        return Task(self.rows[:count], self.labels)


@dataclass(frozen=True)
class Scores:
    """Per row and label, row by row: log-likelihood, and where it was asked for, whether the label is what greedy writing gives."""

    loglikelihoods: list[float]
    greedy: list[bool]

    def choices(self) -> list[int]:
        """The best label of each row."""
        rows = [self.loglikelihoods[at : at + _LABELS] for at in range(0, len(self.loglikelihoods), _LABELS)]
        return [max(range(_LABELS), key=row.__getitem__) for row in rows]


class Harness:
    """lm-evaluation-harness as it is, at a batch size of the sweep."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @cached_property
    def model(self) -> Any:
        from lm_eval.models.huggingface import HFLM

        return HFLM(pretrained=self.lab.peer, tokenizer=self.lab.backbone.tokenizer, batch_size=1, device=str(self.lab.backbone.device))

    def score(self, task: Task, batch_size: int, clock: Clock) -> Scores:
        asked = [(("", ""), list(row), list(label)) for row in task.rows for label in task.labels]
        self.model.batch_size_per_gpu = batch_size
        clock.start()
        found = self.model._loglikelihood_tokens(asked, disable_tqdm=True)
        clock.stop()
        return Scores([value for value, _ in found], [greedy for _, greedy in found])

    def best_batch(self, layout: str, task: Task, sizes: Sequence[int]) -> int:
        """The batch size that is fastest on a few rows of this layout; asked once for each layout."""
        return self.lab.best_of(layout, sizes, lambda size, clock: self.score(task, size, clock))


def ours(lab: Lab, task: Task, clock: Clock) -> Scores:
    """The engine's one scoring path."""
    scorer = Scorer(lab.backbone, trie_of(task.labels))
    clock.start()
    found = scorer.score(task.rows).answers
    clock.stop()
    return Scores(found.flatten().tolist(), [])


def ours_with_greedy(lab: Lab, task: Task, clock: Clock) -> Scores:
    """As `ours`, and what the engine writes greedily, for the equality check."""
    written, _ = Generator(lab.backbone, Generation(max_new_tokens=len(task.labels[0]), stop=())).write(task.rows)
    greedy = [tuple(ids) == label for ids in written for label in task.labels]
    return replace(ours(lab, task, clock), greedy=greedy)


def equal(lab: Lab, theirs: Scores, mine: Scores) -> str:
    """Log-likelihoods, choices and, where both know it, what is greedy."""
    parts = [require_close("log-likelihoods", theirs.loglikelihoods, mine.loglikelihoods, absolute=lab.score_tolerance)]
    if lab.is_exact:
        parts.append(require_same("choices", theirs.choices(), mine.choices()))
    if mine.greedy and lab.is_exact:
        parts.append(f"{require_same('marks of greedy', theirs.greedy, mine.greedy)} ({sum(mine.greedy)} set)")
    return ", ".join(parts)


def make_task(lab: Lab, prompt: int, count: int, label_tokens: int, row: tuple[int, int] = _ROW) -> Task:
    """Rows behind one prompt; the first label is what the model itself writes behind the first row."""
    shared = lab.ids(prompt, seed=1)
    rows = [shared + own for own in lab.rows(count, *row, seed=2)]
    written, _ = Generator(lab.backbone, Generation(max_new_tokens=label_tokens, stop=())).write(rows[:1])
    labels = [tuple(written[0])] if len(written[0]) == label_tokens else []
    drawn = iter(range(100, 200))
    while len(labels) < _LABELS:
        other = lab.ids(label_tokens, seed=next(drawn))
        if all(other[0] != label[0] for label in labels):
            labels.append(other)
    return Task(rows, labels)


def harness_flop(lab: Lab, task: Task) -> float:
    """Whole sequences, one for each label but its last token that differs, projected at every position."""
    distinct = len({label[:-1] for label in task.labels})
    lengths = [len(row) + len(task.labels[0]) - 1 for row in task.rows]
    return distinct * sum(lab.shape.forward_flop(length, length * length / 2, length) for length in lengths)


def trie_flop(lab: Lab, task: Task) -> float:
    """Every node of the trie of shared prompt, rows and labels once, projected where an answer is read."""
    shared = len(shared_ids(task.rows))
    nodes = trie_of(task.labels).num_nodes
    flop = lab.shape.forward_flop(shared, shared * shared / 2, 0)
    for row in task.rows:
        own = len(row) - shared
        flop += lab.shape.forward_flop(own + nodes, (own + nodes) * (shared + own / 2), 1 + nodes)
    return flop


def against_harness(lab: Lab, name: str, task: Task, layout: str) -> Entry:
    """One measure against the harness at its best batch size."""
    harness = Harness(lab)
    sizes = _sizes(lab, _LONG)
    batch = harness.best_batch(layout, task.few(max(_FEW, max(sizes))), sizes)
    theirs = Side(
        f"lm-eval HFLM, batch {batch}",
        lambda clock: harness.score(task, batch, clock),
        lambda clock: harness.score(task.few(), batch, clock),
        flop=harness_flop(lab, task),
    )
    mine = Side(
        "Scorer", lambda clock: ours(lab, task, clock), lambda clock: ours_with_greedy(lab, task.few(), clock), flop=trie_flop(lab, task)
    )
    return compare(lab.rules, name, theirs, mine, lambda a, b: equal(lab, a, b), (len(task.rows), "rows/s"))


# What fits a processor's caches; a GPU is first filled by more rows.
_LONG, _SHORT, _ON_GPU = (1, 4, 8), (1, 4, 8, 16), (8, 32, 64, 128)


def _sizes(lab: Lab, on_cpu: tuple[int, ...]) -> tuple[int, ...]:
    return _ON_GPU if lab.device == "cuda" else on_cpu


def a1(lab: Lab) -> Entry:
    return against_harness(lab, "a1", make_task(lab, lab.sizes.prompt, lab.sizes.rows, 1), "long")


def a2(lab: Lab) -> Entry:
    return against_harness(lab, "a2", make_task(lab, lab.sizes.prompt, max(4, lab.sizes.rows // 2), 2), "long")


def a3(lab: Lab) -> Entry:
    return against_loop(lab, "a3")


def a3_bf16(lab: Lab) -> Entry:
    """a3 in bf16, where the processor multiplies it fast; elsewhere every product is converted and no figure means anything."""
    if not is_bf16_fast(lab.backbone.device):
        return judge(Entry("a3-bf16", "one cache, cropped", "rows/s", note="not judged: no fast bf16 here"), lab.rules)
    return against_loop(lab if lab.dtype == "bf16" else lab.on(lab.shape, "bf16"), "a3-bf16")


def a4(lab: Lab) -> Entry:
    """Five rounds at least, and the median of their ratios: the two sides are near each other."""
    task = make_task(lab, 0, lab.sizes.rows, 1, row=(55, 65))
    rules = replace(lab.rules, rounds=max(5, lab.rules.rounds))
    harness = Harness(lab)
    sizes = _sizes(lab, _SHORT)
    batch = harness.best_batch("short", task.few(max(sizes)), sizes)
    theirs = Side(f"lm-eval HFLM, batch {batch}", lambda clock: harness.score(task, batch, clock), flop=harness_flop(lab, task))
    mine = Side("Scorer", lambda clock: ours(lab, task, clock), flop=trie_flop(lab, task))
    found = equal(lab, theirs.run(Clock()), ours_with_greedy(lab, task, Clock()))
    return by_median(rules, "a4", (theirs, mine), lambda a, b: equal(lab, a, b), found, len(task.rows))


def a5(lab: Lab) -> Entry:
    """Layout: one stretch of examples, four instructions of 20 tokens behind it, the same eight rows behind each, four labels."""
    shared = lab.ids(lab.sizes.prompt, seed=1)
    own = lab.rows(8, *_ROW, seed=2)
    rows = [shared + lab.ids(20, seed=30 + variant) + row for variant in range(4) for row in own]
    task = replace(make_task(lab, 8, 1, 1), rows=rows)
    entry = against_harness(lab, "a5", task, "long")
    tokens = sum(map(len, rows))
    nodes = lab.sizes.prompt + 4 * 20 + 4 * sum(map(len, own))
    assert entry.ratio is not None, "both sides were timed"
    entry.details |= {"times_as_fast": entry.ratio, "trie_ratio": tokens / nodes}
    entry.note = f"{entry.ratio:.1f} times as fast; {tokens:,} tokens hang on {nodes:,} nodes, trie ratio {tokens / nodes:.1f}"
    entry.ratio, entry.limit = entry.ratio / (tokens / nodes), None
    return judge(entry, lab.rules)


def by_median(
    rules: Rules, name: str, sides: tuple[Side[Scores], Side[Scores]], check: Callable[[Scores, Scores], str], found: str, rows: int
) -> Entry:
    """An entry whose ratio is the median over rounds that stood side by side."""
    theirs, mine = sides
    timings = in_turn(rules, theirs, mine, check)
    values = [rows / timing.median(rules.clock) for timing in timings]
    entry = Entry(name, theirs.name, "rows/s", peer_value=values[0], ours=values[1], equal=found)
    entry.ratio = median_ratio(*timings, rules.clock)
    entry.details = details_of(rules, (theirs, timings[0]), (mine, timings[1]))
    entry.limit = theirs.flop / mine.flop if theirs.flop and mine.flop else None
    return judge(entry, rules)


def against_loop(lab: Lab, name: str) -> Entry:
    """Against what an expert writes: the prompt's cache once, a row at a time behind it, the cache cropped after each."""
    task = make_task(lab, lab.sizes.prompt, 4 * lab.sizes.rows, 1)
    flop = trie_flop(lab, task)
    theirs = Side("one cache, cropped", lambda clock: _loop(lab, task, clock), lambda clock: _loop(lab, task.few(), clock), flop=flop)
    mine = Side("Scorer", lambda clock: ours(lab, task, clock), lambda clock: ours(lab, task.few(), clock), flop=flop)
    entry = compare(lab.rules, name, theirs, mine, lambda a, b: equal(lab, a, b), (len(task.rows), "rows/s"))
    entry.limit = None  # both do the same operations; what is left is how well they use the hardware
    return judge(entry, lab.rules)


def _loop(lab: Lab, task: Task, clock: Clock) -> Scores:
    shared = shared_ids(task.rows)
    labels = [label[0] for label in task.labels]
    device = lab.backbone.device
    found = []
    clock.start()
    with torch.inference_mode():
        cache = DynamicCache()
        lab.peer(torch.tensor([shared], device=device), past_key_values=cache, use_cache=True, logits_to_keep=1)
        for row in task.rows:
            own = torch.tensor([row[len(shared) :]], device=device)
            logits = lab.peer(own, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
            found += logits.float().log_softmax(-1)[labels].tolist()
            cache.crop(-own.shape[1])
    clock.stop()
    return Scores(found, [])

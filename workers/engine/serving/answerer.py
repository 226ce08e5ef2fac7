"""Many prompts on one model: rows of different tasks and tuned prompts answered in one pass, each as if it were alone.

Written prompts, soft prompts, P-tuning, context-aware prompts and prefixes become KV prefixes, LoRA and IA3 corrections per row. The
class is what a prediction service stands on; it knows no network and no files but artifacts.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from workers.engine.answering.generation import MAX_ROWS, MAX_TOKENS, CachedSteps, Generator
from workers.engine.answering.scoring import label_scores, scoring_groups, sum_steps
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.requests import Reply, Request
from workers.engine.contract.spec import Item, RunSpec
from workers.engine.errors import BadData, BadSpec, EngineError, Unsupported
from workers.engine.model.backbone import Backbone
from workers.engine.model.families import sliding_reason
from workers.engine.passes.abreast import run_abreast
from workers.engine.passes.batching import buckets, forest_batch
from workers.engine.passes.mixed import PrefixRows, mixed_pass
from workers.engine.prompts.frame import common_prefix
from workers.engine.serving.row_adapters import RowAdapters
from workers.engine.serving.served import Held, ServedPrompt, hold_again, serve, spec_of_artifact
from workers.engine.serving.shelf import DEFAULT_BYTES, Shelf


@dataclass(frozen=True)
class _Row:
    """A request in token ids.

    Args:
        shared: how many positions of its prompt's KV prefix the row stands behind.
        own: the ids after them, at least one.
    """

    place: int
    request: Request
    prompt: ServedPrompt
    shared: int
    own: tuple[int, ...]


class Answerer:
    """Prompts on one frozen model, and the rows that ask them.

    One call is worked on at a time; others wait. The model's modules stay as they were loaded.

    Args:
        backbone: the model; it must allow a shared prefix.
        max_bytes: most that KV prefixes and adapters may take between calls. What was not used for the longest time leaves first and comes
            back from its folder when it is asked for. A batch under way keeps what it reads until it ends.
    Raises:
        Unsupported: rows of this model are run whole.
    """

    def __init__(self, backbone: Backbone, max_bytes: int = DEFAULT_BYTES) -> None:
        if backbone.plain_reason:
            raise Unsupported(f"Rows of several prompts cannot share a pass on this model: {backbone.plain_reason}. Run each prompt alone.")
        self.backbone = backbone
        self.shelf: Shelf[Held] = Shelf(max_bytes)
        self.prompts: dict[str, ServedPrompt] = {}
        self._offsets: dict[str, Tensor | None] = {}
        self._lock = threading.RLock()

    def load(self, name: str, source: Path | RunSpec) -> ServedPrompt:
        """Make a prompt ready; one of the same name is replaced.

        Args:
            name: what requests will call it.
            source: the folder of an artifact, or the spec of a hard prompt (its data files are not read).
        Raises:
            Unsupported: its rows cannot share a pass with others.
            BadSpec: it takes more than `max_bytes`, or was made for another model.
            MissingModel: the folder is not a whole artifact.
        """
        with self._lock:
            spec = spec_of_artifact(source, self.backbone) if isinstance(source, Path) else source
            prompt, held = serve(name, spec, self.backbone)
            if held.num_bytes > self.shelf.max_bytes:
                raise BadSpec(f"{name} takes {held.num_bytes:,} bytes, and {self.shelf.max_bytes:,} may be held. Allow more bytes.")
            self._offsets[name] = self._offset(prompt, held)
            self.prompts[name] = prompt
            self.shelf.put(name, held, held.num_bytes)
            return prompt

    def unload(self, name: str) -> None:
        """Forget a prompt, if it is here."""
        with self._lock:
            self.prompts.pop(name, None)
            self._offsets.pop(name, None)
            self.shelf.drop(name)

    def answer(self, requests: Sequence[Request], rules: Generation | None = None) -> list[Reply]:
        """A label or a free answer for every request, whichever its prompt gives, in order.

        Args:
            rules: how free answers are written; greedy unless told.
        """
        with self._lock:
            free = {at for at, each in enumerate(requests) if each.prompt in self.prompts and self.prompts[each.prompt].trie is None}
            scored = iter(self.score([each for at, each in enumerate(requests) if at not in free]))
            written = iter(self.generate([each for at, each in enumerate(requests) if at in free], rules))
            return [next(written if at in free else scored) for at in range(len(requests))]

    def score(self, requests: Sequence[Request]) -> list[Reply]:
        """A label for every request, in order; all labels of all rows of a batch are read in one pass."""
        with self._lock, torch.inference_mode():
            replies: dict[int, Reply] = {}
            rows = self._encode(requests, _score_room, replies)
            sizes = [len(row.own) + _nodes(row) for row in rows]
            # Adapters are hooked to the model itself, so that a batch with any has it alone.
            at_once = 1 if any(row.prompt.has_adapter for row in rows) else torch.get_num_threads()
            groups = scoring_groups(self.backbone, sizes, 0, 1 + max(map(_nodes, rows), default=0), at_once)
            for at in range(0, len(groups), at_once):
                batches = [self._held([rows[index] for index in group], replies) for group in groups[at : at + at_once]]
                self._answer_batches([batch for batch in batches if batch[0]], replies)
            return [replies[place] for place in range(len(requests))]

    def _answer_batches(self, batches: Sequence[tuple[list[_Row], list[Held]]], replies: dict[int, Reply]) -> None:
        found: dict[int, list[Tensor]] = {}
        run_abreast(lambda place: self._read(*batches[place]), range(len(batches)), self.backbone.device, found.__setitem__)
        for place, (live, _) in enumerate(batches):
            for row, answers in zip(live, found[place], strict=True):
                replies[row.place] = self._labelled(row, answers)

    def generate(self, requests: Sequence[Request], rules: Generation | None = None) -> list[Reply]:
        """A free answer for every request, in order, whatever its prompt was made for.

        Args:
            rules: greedy unless told; draws follow the request's id.
        """
        rules = rules or Generation()
        most = rules.max_new_tokens
        generator = Generator(self.backbone, rules)
        with self._lock, torch.inference_mode():
            replies: dict[int, Reply] = {}
            rows = self._encode(requests, lambda prompt: most + 1, replies)
            for group in buckets([len(row.own) for row in rows], most, MAX_TOKENS, MAX_ROWS):
                live, held = self._held([rows[index] for index in group], replies)
                if not live:
                    continue
                adapters = RowAdapters([each.adapter for each in held])
                steps = _MixedSteps(self.backbone, [row.own for row in live], _prefixes(live, held), adapters)
                with adapters.on(self.backbone.model):
                    written = generator.write_batch(steps, generator.draws([row.request.id for row in live]))
                for row, ids in zip(live, written, strict=True):
                    replies[row.place] = Reply(row.request.id, row.request.prompt, text=generator.text_of(ids))
            return [replies[place] for place in range(len(requests))]

    def _encode(self, requests: Sequence[Request], room_of: Callable[[ServedPrompt], int], replies: dict[int, Reply]) -> list[_Row]:
        """Requests as rows; those that cannot be run get their reply here."""
        rows = []
        for place, request in enumerate(requests):
            try:
                rows.append(self._row(place, request, room_of))
            except EngineError as error:
                replies[place] = _failed(request, error)
        return rows

    def _row(self, place: int, request: Request, room_of: Callable[[ServedPrompt], int]) -> _Row:
        prompt = self.prompts.get(request.prompt)
        if prompt is None:
            raise BadData(f"No prompt is loaded as {request.prompt!r}. Loaded: {', '.join(sorted(self.prompts)) or 'none'}.")
        room = room_of(prompt)
        encoded = prompt.frame.encode([Item(request.id, request.fields, "")])[0]
        if encoded.error:
            raise BadData(encoded.error)
        longest = len(encoded.ids) + prompt.virtual_tokens + room
        if longest > self.backbone.window:
            raise BadData(
                f"Prompt, row and longest answer take {longest:,} tokens; the model reads {self.backbone.window:,}. Shorten the row."
            )
        if reason := sliding_reason(self.backbone.sliding, longest):
            raise BadData(f"The row cannot share a pass with others: {reason}. Shorten it, or run its prompt alone.")
        # A position to predict from must be left to the row; what it does not begin with is cut off the prefix.
        shared = min(len(common_prefix([encoded.ids, prompt.opening])), len(encoded.ids) - 1)
        return _Row(place, request, prompt, prompt.virtual_tokens + shared, encoded.ids[shared:])

    def _held(self, rows: Sequence[_Row], replies: dict[int, Reply]) -> tuple[list[_Row], list[Held]]:
        """The rows whose prompts are in memory now, with what is held; the others get their reply here."""
        live, held = [], []
        for row in rows:
            try:
                held.append(self._hold(row.prompt))
                live.append(row)
            except EngineError as error:
                replies[row.place] = _failed(row.request, error)
        return live, held

    def _hold(self, prompt: ServedPrompt) -> Held:
        held = self.shelf.get(prompt.name)
        if held is None:
            held = hold_again(prompt)
            self.shelf.put(prompt.name, held, held.num_bytes)
        return held

    def _read(self, rows: Sequence[_Row], held: Sequence[Held]) -> list[Tensor]:
        """Per row, [answers] log-likelihood of each answer of its prompt (nats), from one pass."""
        if not rows:
            return []
        tries = [row.prompt.trie for row in rows if row.prompt.trie]
        batch = forest_batch([row.own for row in rows], tries).to(self.backbone.device)
        with RowAdapters([each.adapter for each in held]).on(self.backbone.model):
            logits = mixed_pass(self.backbone.model, _prefixes(rows, held), batch)
        parts = torch.split(logits, [trie.num_positions for trie in tries])
        return [sum_steps(part[None], trie)[0].float().cpu() for part, trie in zip(parts, tries, strict=True)]

    def _offset(self, prompt: ServedPrompt, held: Held) -> Tensor | None:
        """[C] what is added to the labels' scores: a fitted bias, or less what the prompt says about an empty row."""
        spec = prompt.frame.spec
        if spec.label_bias:
            return torch.tensor([spec.label_bias[label] for label in spec.labels])
        if prompt.trie is None or spec.score != "prior_corrected":
            return None
        ids = prompt.frame.encode([Item("", dict.fromkeys(prompt.frame.template.slots(), ""), "")])[0].ids
        shared = min(len(common_prefix([ids, prompt.opening])), len(ids) - 1)
        row = _Row(0, Request("", prompt.name, {}), prompt, prompt.virtual_tokens + shared, ids[shared:])
        with torch.inference_mode():
            return -label_scores(self._read([row], [held])[0][None], prompt.trie)[0]

    def _labelled(self, row: _Row, answers: Tensor) -> Reply:
        trie, spec = row.prompt.trie, row.prompt.frame.spec
        assert trie is not None, "rows without labels have their reply already"
        sums = label_scores(answers[None], trie)[0]
        chosen_by = sums
        if spec.score == "mean":
            chosen_by = label_scores((answers / torch.tensor([len(each.ids) for each in trie.answers]))[None], trie)[0]
        offset = self._offsets[row.prompt.name]
        if offset is not None:
            chosen_by = chosen_by + offset
        label = spec.labels[int(chosen_by.argmax())]
        return Reply(row.request.id, row.request.prompt, label, dict(zip(spec.labels, sums.tolist(), strict=True)))


class _MixedSteps(CachedSteps):
    """Rows behind prefixes of their own, with adapters of their own."""

    def __init__(self, backbone: Backbone, rows: Sequence[Sequence[int]], prefixes: PrefixRows, adapters: RowAdapters) -> None:
        super().__init__(backbone, rows, prefixes.seen(backbone.device), prefixes.growing_cache())
        self.adapters = adapters

    def next(self, chosen: Tensor, kept: Sequence[int]) -> Tensor:
        if len(kept) < len(self.places):
            self.adapters.keep(kept)
        return super().next(chosen, kept)


def _prefixes(rows: Sequence[_Row], held: Sequence[Held]) -> PrefixRows:
    return PrefixRows(tuple(each.states.first(row.shared) if each.states else None for row, each in zip(rows, held, strict=True)))


def _score_room(prompt: ServedPrompt) -> int:
    if prompt.trie is None:
        raise BadData(f"{prompt.name} writes free answers and has no labels. Ask it to generate.")
    return prompt.trie.longest()


def _nodes(row: _Row) -> int:
    return row.prompt.trie.num_nodes if row.prompt.trie else 0


def _failed(request: Request, error: EngineError) -> Reply:
    return Reply(request.id, request.prompt, error=error.message)

"""What all measures share: the model on both sides, the sizes of the work, drawn rows. Knows no peer."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from workers.bench.machine import settler
from workers.bench.protocol import Clock, Rules
from workers.bench.shapes import Shape, write_model
from workers.engine.contract.spec import BackboneRef
from workers.engine.model.backbone import Backbone, load_backbone
from workers.engine.passes.answers import Answer, AnswerTrie, build_trie

Ids = tuple[int, ...]
Way = TypeVar("Way")


@dataclass(frozen=True)
class Sizes:
    """How much work a measure does.

    Args:
        prompt: tokens that all rows share.
        rows: rows of a1; others follow from it.
        steps: training steps of a round.
        prompts, requests: of the serving measures.
        registered: prompts beside which one is asked.
        told: tokens written for each request.
    """

    prompt: int = 625
    rows: int = 32
    steps: int = 6
    prompts: int = 16
    requests: int = 32
    registered: int = 1000
    told: int = 16


FULL = Sizes()
ON_GPU = Sizes(rows=512, steps=30, requests=256)
QUICK = Sizes(prompt=96, rows=8, steps=3, prompts=4, requests=8, registered=20, told=6)


@dataclass
class Lab:
    """One benchmark's model and rules.

    Args:
        folder: where its model and artifacts lie; its own.
        dtype: `fp32` or `bf16`, of both sides.
        swept: places of the settings that were found best for the peers.
        served: prompts that are loaded already, by their length.
    """

    folder: Path
    shape: Shape
    sizes: Sizes
    rules: Rules
    device: str = "cpu"
    dtype: str = "fp32"
    swept: dict[str, int] = field(default_factory=dict)
    served: dict[int, Any] = field(default_factory=dict)

    @cached_property
    def model_folder(self) -> Path:
        """The model on the disk, as any run finds one; a process that measures beside this one finds it there."""
        folder = self.folder / "model"
        return folder if (folder / "tokenizer.json").exists() else write_model(folder, self.shape, self.torch_dtype)

    @property
    def torch_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.dtype == "bf16" else torch.float32

    @cached_property
    def ref(self) -> BackboneRef:
        """The model as a run names it."""
        return BackboneRef(str(self.model_folder), dtype=self.dtype, device=self.device)

    @cached_property
    def backbone(self) -> Backbone:
        """The engine's own copy of the model."""
        return load_backbone(self.ref)

    @cached_property
    def peer(self) -> PreTrainedModel:
        """The peers' copy of the same weights: what they leave on it touches no figure of ours."""
        loaded = AutoModelForCausalLM.from_pretrained(self.model_folder, dtype=self.torch_dtype, attn_implementation="sdpa")
        model: PreTrainedModel = loaded.to(self.backbone.device)
        return model.eval().requires_grad_(False)

    def on(self, shape: Shape, dtype: str = "") -> "Lab":
        """Another model under the same rules."""
        dtype = dtype or self.dtype
        return Lab(self.folder / f"{shape.name} {dtype}", shape, self.sizes, self.rules, self.device, dtype)

    @property
    def is_exact(self) -> bool:
        """Whether both sides round alike closely enough that all they choose must be the same; in bf16 near ties fall either way."""
        return self.dtype == "fp32"

    @property
    def score_tolerance(self) -> float:
        """Largest difference of log-likelihoods (nats)."""
        return 1e-4 if self.is_exact else 0.1

    def ids(self, count: int, seed: int) -> Ids:
        """Drawn tokens of the trained vocabulary."""
        drawn = random.Random(seed)
        return tuple(drawn.randrange(1, len(self.backbone.tokenizer)) for _ in range(count))

    def rows(self, count: int, shortest: int, longest: int, seed: int) -> list[Ids]:
        """Drawn rows of uneven length."""
        drawn = random.Random(seed)
        return [self.ids(drawn.randint(shortest, longest), seed * 10_007 + place) for place in range(count)]

    @contextmanager
    def threads(self, count: int) -> Iterator[None]:
        """Another number of threads for a while."""
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def best_of(self, name: str, ways: Sequence[Way], run: Callable[[Way, Clock], object]) -> Way:
        """The way of a peer that is fastest on a short piece of work; asked once under each name.

        Args:
            ways: its settings; one that does not fit into memory is none.
            run: does that work in one way.
        """
        if name not in self.swept:
            seconds = [self._seconds(lambda clock, way=way: run(way, clock)) for way in ways]  # type: ignore[misc]
            self.swept[name] = seconds.index(min(seconds))
        return ways[self.swept[name]]

    def _seconds(self, run: Callable[[Clock], object]) -> float:
        clock = Clock(self.settle)
        try:
            run(clock)
        except torch.OutOfMemoryError:
            return math.inf
        assert clock.spent is not None, "a round stops its clock"
        return clock.spent.by(self.rules.clock)

    def settle(self) -> None:
        """Wait for the device."""
        settler(self.backbone.device)()


def trie_of(labels: list[Ids]) -> AnswerTrie:
    """Labels given as ids, without a terminator, as the harness scores them."""
    return build_trie([Answer(str(place), str(place), ids) for place, ids in enumerate(labels)])

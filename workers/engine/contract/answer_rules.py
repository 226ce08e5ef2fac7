"""How free answers are written and which form they must have, as frozen dataclasses. Standard library only; knows no model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from workers.engine.contract.spec_json import build
from workers.engine.errors import BadSpec

MOST_NEW_TOKENS = 4096
MOST_STOPS = 16
MOST_STOP_CHARACTERS = 100
MOST_TEMPERATURE = 5.0
MOST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Generation:
    """How an answer is written, the same for every approach of a comparison.

    Args:
        max_new_tokens: most tokens of an answer, terminator not counted.
        temperature: 0 takes the likeliest token each time (greedy); else tokens are drawn, the flatter the higher.
        top_p: draws come from the fewest tokens whose probabilities reach this share; 1 draws from all.
        seed: of the draws. Each row draws by itself, so that neither batching nor other rows change its answer.
        stop: texts at which an answer ends; they are not part of it. Space before the answer's first word never stops it.
    """

    max_new_tokens: int = 32
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ("\n",)

    def __post_init__(self) -> None:
        _between(self.max_new_tokens, 1, MOST_NEW_TOKENS, "generation.max_new_tokens")
        _between(self.temperature, 0.0, MOST_TEMPERATURE, "generation.temperature")
        _between(self.seed, 0, MOST_SEED, "generation.seed")
        if not 0.0 < self.top_p <= 1.0:
            raise BadSpec(f"generation.top_p is {self.top_p!r}; it must be above 0 and at most 1.")
        if len(self.stop) > MOST_STOPS or any(not isinstance(text, str) or not 0 < len(text) <= MOST_STOP_CHARACTERS for text in self.stop):
            raise BadSpec(f"generation.stop must be at most {MOST_STOPS} texts of 1 to {MOST_STOP_CHARACTERS} characters.")

    @property
    def is_sampled(self) -> bool:
        return self.temperature > 0

    @classmethod
    def from_json(cls, value: Any) -> Self:
        return build(cls, value, "generation", {"stop": tuple})


@dataclass(frozen=True)
class AnswerFormat:
    """The form that an answer must have; what is left out is not asked for.

    Args:
        json_schema: the answer must be JSON that this schema (draft 2020-12) allows.
        pattern: a regular expression that the whole answer must match.
        min_characters, max_characters: bounds of the answer's length; 0 is no bound.
    """

    json_schema: Mapping[str, Any] | None = None
    pattern: str = ""
    min_characters: int = 0
    max_characters: int = 0

    def __post_init__(self) -> None:
        if self.json_schema is not None and not isinstance(self.json_schema, Mapping):
            raise BadSpec('answer_format.json_schema must be a JSON object, such as {"type": "object"}.')
        if not isinstance(self.pattern, str):
            raise BadSpec(f"answer_format.pattern is {self.pattern!r}; it must be a text.")
        for name in ("min_characters", "max_characters"):
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, int):
                raise BadSpec(f"answer_format.{name} is {value!r}; it must be a whole number.")
        if min(self.min_characters, self.max_characters) < 0 or 0 < self.max_characters < self.min_characters:
            raise BadSpec("answer_format: the fewest characters must not be more than the most, and neither below 0.")

    @property
    def is_asked(self) -> bool:
        return self != AnswerFormat()


def _between(value: Any, low: float, high: float, name: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(low, int) and value != int(value)) or not low <= value <= high:
        kind = "a whole number" if isinstance(low, int) else "a number"
        raise BadSpec(f"{name} is {value!r}; it must be {kind} from {low:,} to {high:,}.")

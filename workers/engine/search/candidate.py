"""One prompt that a search tries, by rule or by DSPy: its words as plain JSON, and a hash that tells prompts apart.

Standard library only, so that a worker which asks an endpoint needs no model library.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workers.engine.contract.template_spec import TemplateSpec


@dataclass(frozen=True)
class Candidate:
    """One prompt to try.

    Args:
        number: place in the search; 0 is the prompt as written.
        name: what is different in it.
    """

    number: int
    name: str
    template: TemplateSpec
    answer_words: Mapping[str, tuple[str, ...]]

    def wording(self) -> dict[str, Any]:
        """The prompt as plain JSON, enough to store it and to try it again."""
        return {
            "system": self.template.system,
            "user": self.template.user,
            "answer_cue": self.template.answer_cue,
            "answer_words": {label: list(words) for label, words in self.answer_words.items()},
            "demonstrations": [asdict(each) for each in self.template.demonstrations],
        }

    @property
    def sha256(self) -> str:
        """Equal for prompts that read the same."""
        return hash_of(self.wording())


def hash_of(value: Any) -> str:
    """SHA-256 of plain JSON."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode()).hexdigest()

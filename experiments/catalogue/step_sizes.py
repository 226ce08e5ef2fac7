"""The step size and optimiser that a tuned approach has where nobody sets a rate: they go by the size and the family of its model.

They are the middle of the engine's grid of step sizes (tests/architecture compares both). Reads no database.
"""

from collections.abc import Mapping
from typing import Any

from experiments.catalogue.kinds import OptionValue

# Families whose published soft prompts were trained with Adafactor.
ADAFACTOR_FAMILIES = ("t5", "mt5")
_SMALL_MODEL = 100_000_000
_OF_LARGER_MODELS = {"prompt_tuning": 0.05, "prefix_tuning": 5e-3, "ia3": 5e-3, "bottleneck": 1e-3, "lora": 2e-4, "full": 2e-5}


def usual_steps(method: str, facts: Mapping[str, Any]) -> dict[str, OptionValue]:
    """Options that stand in place of the catalogue's defaults; none where those hold.

    Args:
        facts: what a worker found out about the model; one that was never verified has none.
    """
    if method == "prompt_tuning" and facts.get("family") in ADAFACTOR_FAMILIES:
        return {"learning_rate": 0.3, "optimizer": "adafactor", "schedule": "constant"}
    weights = facts.get("parameters")
    is_small = not isinstance(weights, int) or weights < _SMALL_MODEL
    return {} if is_small or method not in _OF_LARGER_MODELS else {"learning_rate": _OF_LARGER_MODELS[method]}

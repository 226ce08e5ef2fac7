"""Which train rows stand in a prompt as examples for all rows alike: drawn by a seed, or balanced over labels.

Reads train rows only. Knows no model, so that prompts on an endpoint get the same examples.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from workers.engine.contract.spec import Item, RunSpec
from workers.engine.contract.template_spec import Demonstration
from workers.engine.errors import BadData


def draw_examples(train: Sequence[Item], policy: str, count: int, seed: int) -> list[Item]:
    """Rows for all prompts alike, the same ones for the same seed.

    Args:
        policy: "random" draws rows; "balanced" takes as many of each label as the count allows and draws which labels get one more.
        count: how many rows.
    Raises:
        BadData: there are fewer train rows than asked for.
    """
    if len(train) < count:
        raise BadData(f"The prompt is to show {count} examples, but there are {len(train)} train rows. Ask for fewer examples.")
    chance = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    rows = list(train)
    chance.shuffle(rows)
    if policy == "random":
        return rows[:count]
    queues: dict[str, list[Item]] = {}
    for row in rows:
        queues.setdefault(row.label, []).append(row)
    labels = sorted(queues)
    chosen: list[Item] = []
    while len(chosen) < count:
        chance.shuffle(labels)
        chosen += [queues[label].pop() for label in labels if queues[label]][: count - len(chosen)]
    # Models lean towards the label they read last, so the order is drawn too.
    chance.shuffle(chosen)
    return chosen


def shown(items: Sequence[Item]) -> tuple[Demonstration, ...]:
    """Rows as they stand in a template."""
    return tuple(Demonstration(item.fields, item.label, item.id) for item in items)


def with_drawn(spec: RunSpec, train: Sequence[Item]) -> tuple[RunSpec, dict[str, Any]]:
    """The run with its examples in its prompt, in place of any that were written there, and which rows they are.

    Raises:
        BadData: there are fewer train rows than asked for.
    """
    options = spec.recipe.options
    policy, count, seed = str(options["policy"]), int(options["num_examples"]), int(options["draw_seed"])  # type: ignore[arg-type]
    chosen = draw_examples(train, policy, count, seed)
    facts = {"policy": policy, "num_examples": count, "draw_seed": seed, "pool_rows": len(train)}
    rows = [{"id": item.id, "label": item.label} for item in chosen]
    return replace(spec, template=replace(spec.template, demonstrations=shown(chosen))), {**facts, "rows": rows}

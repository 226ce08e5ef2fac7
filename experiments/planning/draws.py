"""Which train rows a smaller training learns from: nested, seeded, as balanced over labels as the rows allow.

Pure; knows rows by id and label.
"""

import random
from collections.abc import Iterable


def balanced_order(rows: Iterable[tuple[int, str]], seed: int) -> list[int]:
    """The rows in an order whose every beginning is a draw: the first 16 are a part of the first 64.

    Labels take turns until their rows run out, so that each beginning holds as many of one label as of another where it can.

    Args:
        rows: (id, label) in any fixed order.
    Returns:
        All ids; the same rows and seed give the same order.
    """
    chance = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    queues: dict[str, list[int]] = {}
    for row, label in rows:
        queues.setdefault(label, []).append(row)
    turns = [queues[label] for label in sorted(queues)]
    for queue in turns:
        chance.shuffle(queue)
    order: list[int] = []
    while turns:
        chance.shuffle(turns)
        order += [queue.pop() for queue in turns]
        turns = [queue for queue in turns if queue]
    return order

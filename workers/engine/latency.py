"""Times single requests: batch of one, warm, from text to answer. Throughput is another figure and measured elsewhere."""

import time
from collections.abc import Callable, Sequence

from workers.engine.outcome import Latency
from workers.engine.runtime import machine_is_busy
from workers.engine.spec import Item

_WARM_UP = 5


def time_requests(answer: Callable[[Item], object], items: Sequence[Item], check_stop: Callable[[], None]) -> Latency:
    """Wall and CPU time of one request at a time.

    Args:
        answer: answers one row from its text, with everything that can be cached before a request already cached.
        items: rows to ask for, in order.
        check_stop: called before each request; may raise.
    Returns:
        Percentiles in milliseconds; withheld with the reason when the machine was busy before or after.
    """
    busy = machine_is_busy()
    if busy:
        return Latency(rows=0, withheld=busy)
    for item in items[:_WARM_UP]:
        answer(item)
    wall, cpu = [], []
    for item in items:
        check_stop()
        cpu_start, start = time.process_time(), time.perf_counter()
        answer(item)
        wall.append((time.perf_counter() - start) * 1000)
        cpu.append((time.process_time() - cpu_start) * 1000)
    busy = machine_is_busy()
    if busy:
        return Latency(rows=len(wall), withheld=busy)
    return Latency(len(wall), percentile(wall, 0.5), percentile(wall, 0.95), percentile(cpu, 0.5))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]

"""Batches side by side, each on its own share of the processor's threads. Knows torch's threads, nothing of models or rows.

Splitting every operation of a small model over all cores spends much of the time on handing out and gathering work, and a core
that is busy elsewhere holds up all others at every operation. Whole batches abreast meet once, at the end.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from functools import cache
from typing import TypeVar

import torch

_MOST_ABREAST = 16

Work = TypeVar("Work")
Found = TypeVar("Found")


def run_abreast(
    do: Callable[[Work], Found],
    batches: Sequence[Work],
    device: torch.device,
    done: Callable[[Work, Found], None],
    gradients: bool = False,
) -> int:
    """Do every batch; on a processor several at once.

    What is found does not depend on how many run at once.

    Args:
        do: called with one batch, on a thread that may not be this one.
        batches: the largest first, so that the last ones fill the gaps.
        done: called on this thread after each batch; may raise, and then no further batch is begun.
        gradients: operations are recorded, for work that differentiates what it computes.
    Returns:
        How many ran at once.
    """
    threads = torch.get_num_threads()
    abreast = min(threads, len(batches), _MOST_ABREAST) if device.type == "cpu" else 1
    if abreast < 2:
        with torch.inference_mode(not gradients):
            for batch in batches:
                done(batch, do(batch))
        return 1

    def alone(batch: Work) -> Found:
        torch.set_num_threads(threads // abreast)
        with torch.inference_mode(not gradients):
            return do(batch)

    futures: dict[Future[Found], Work] = {_pool(abreast).submit(alone, batch): batch for batch in batches}
    try:
        for future in as_completed(futures):
            done(futures[future], future.result())
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
        # A thread's number is its own, but threads started later take the one that was set last by anybody.
        torch.set_num_threads(threads)
    return abreast


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    """Kept, because libraries hold buffers for each thread that calls them."""
    return ThreadPoolExecutor(size, thread_name_prefix="batches")

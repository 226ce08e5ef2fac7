"""Batches side by side, each on its own share of the processor's threads. Knows torch's threads, nothing of models or rows.

Splitting every operation of a small model over all cores spends much of the time on handing out and gathering work, and a core
that is busy elsewhere holds up all others at every operation. Whole batches abreast meet once, at the end.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

_MOST_ABREAST = 16
# Parts of a batch that run side by side: fewer rows do not fill a thread, and each part holds gradients of its own.
_LEAST_ROWS = 4

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


def cut(rows: Sequence[Work], wanted: int) -> list[Sequence[Work]]:
    """The rows in as many parts as wanted, or fewer where a part would have too few rows to be worth a thread."""
    number = max(1, min(wanted, len(rows) // _LEAST_ROWS))
    cuts = [len(rows) * part // number for part in range(number + 1)]
    return [rows[start:end] for start, end in pairwise(cuts)]


def add_gradients(losses_of: Callable[[Work], Tensor], parts: Sequence[Work], into: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The losses of each part, the gradients of their sum added to the `grad` of the tensors; on a processor parts run side by side.

    Args:
        losses_of: one loss or several of a part; called on a thread that may not be this one.
        into: every tensor that learns, or is a leaf behind which others do.
    """
    if len(parts) == 1:
        losses = losses_of(parts[0])
        torch.autograd.backward([losses.sum()])
        return [losses.detach()]

    def differentiate(part: int) -> tuple[Tensor, Sequence[Tensor | None]]:
        losses = losses_of(parts[part])
        return losses.detach(), torch.autograd.grad([losses.sum()], into, allow_unused=True)

    found: dict[int, tuple[Tensor, Sequence[Tensor | None]]] = {}
    run_abreast(differentiate, range(len(parts)), device, found.__setitem__, gradients=True)
    # Added up in the order of the parts, not of their ends, so that a run can be repeated to the bit.
    for part in range(len(parts)):
        for tensor, gradient in zip(into, found[part][1], strict=True):
            if gradient is not None:
                tensor.grad = gradient if tensor.grad is None else tensor.grad.add_(gradient)
    return [found[part][0] for part in range(len(parts))]


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    """Kept, because libraries hold buffers for each thread that calls them."""
    return ThreadPoolExecutor(size, thread_name_prefix="batches")

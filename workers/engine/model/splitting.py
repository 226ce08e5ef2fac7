"""A group of rows that does not fit into memory is done in halves. Knows nothing of what is done with rows."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from workers.engine.errors import OutOfMemory
from workers.engine.model.runtime import is_out_of_memory

Found = TypeVar("Found")


def split_when_scarce(do: Callable[[Sequence[int]], Found], group: Sequence[int], join: Callable[[list[Found]], Found]) -> Found:
    """What `do` finds for a group of rows; where memory is short, for one half after the other, down to single rows.

    Args:
        group: numbers of rows; what is found of a row must not depend on its company.
        join: puts what was found for parts of a group together, in their order.
    Raises:
        OutOfMemory: a row does not fit alone.
    """
    try:
        return do(group)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(group) == 1:
            raise OutOfMemory("Not even one row fits into memory. Shorten the rows or the prompt, or use a smaller model.") from error
    # Not inside the handler: until it ends, the error holds the tensors of the pass that failed.
    half = len(group) // 2
    return join([split_when_scarce(do, part, join) for part in (group[:half], group[half:])])

"""How a call of an endpoint can end badly, each way with one sentence for a person. Standard library only."""

from enum import Enum


class Trouble(Enum):
    """What follows from a fault."""

    FINAL = "final"  # asking again cannot help: the key, the address or the model's name is wrong
    BUSY = "busy"  # asking again later may help
    GARBLED = "garbled"  # something came that is no answer of this API
    ROW = "row"  # this request was refused; others may not be


class Fault(Exception):
    """A call without a usable answer.

    Args:
        sentence: what happened and what to do; it never holds the key.
        retry_after: seconds that the endpoint asks to wait, or None.
        may_be_billed: the request may have been worked on, so that its price is not known to be nothing.
        status: the HTTP status, or None.
    """

    def __init__(
        self, trouble: Trouble, sentence: str, *, retry_after: float | None = None, may_be_billed: bool = False, status: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.trouble = trouble
        self.sentence = sentence
        self.retry_after = retry_after
        self.may_be_billed = may_be_billed
        self.status = status

    @property
    def may_lie_in_row(self) -> bool:
        """Whether this very request may be what the endpoint stumbles over; being called too fast or not at home is not its row's doing."""
        return self.may_be_billed if self.status is None else self.status != 429

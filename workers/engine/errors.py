"""The ways a run can end without a result. Each carries one sentence for a person; nobody has to read a traceback."""

import errno


class EngineError(Exception):
    """A run that cannot go on.

    Args:
        message: what is wrong, what is expected and what to do, in one plain sentence or two.
    """

    kind = "engine_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadSpec(EngineError):
    """The run asks for something that makes no sense, whatever the data says."""

    kind = "bad_spec"


class BadData(EngineError):
    """A data file cannot be used: missing, changed, or with a row that breaks the rules."""

    kind = "bad_data"


class MissingModel(EngineError):
    """A backbone or an artifact cannot be loaded from where the spec points."""

    kind = "missing_model"


class Unsupported(EngineError):
    """This method cannot run on this backbone; said before any work is done."""

    kind = "unsupported"


class OutOfMemory(EngineError):
    """Even one row at a time does not fit into memory."""

    kind = "out_of_memory"


class DiskFull(EngineError):
    """There was no room left to write."""

    kind = "disk_full"

    def __init__(self) -> None:
        super().__init__(
            "The worker's disk is full. Ask whoever runs this installation to make room, then try again: what was stored stays."
        )


class NonFinite(EngineError):
    """Training produced numbers that are not finite, several steps in a row."""

    kind = "non_finite"


class TimeLimit(EngineError):
    """The run used up the time it was given."""

    kind = "time_limit"


class RunStopped(EngineError):
    """Somebody asked the run to stop; nothing is wrong."""

    kind = "cancelled"


def is_out_of_disk(error: BaseException) -> bool:
    """Whether the disk, or what one may use of it, was full. The writer of safetensors says it in words alone."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"(os error {errno.ENOSPC})" in str(error)

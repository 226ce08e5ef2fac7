"""Whether a search by DSPy can run: DSPy is an extra of the workers, and the model must be able to write. Reads only."""

from collections.abc import Iterator, Sequence

from experiments.models import Backbone, Queue
from experiments.presence import extras_of
from experiments.wording import listed, quoted

DSPY = "dspy"


def writing_problems(names: Sequence[str], backbones: Sequence[Backbone]) -> Iterator[str]:
    """What stands against searches in which the model itself writes the prompts.

    Args:
        names: the approaches, as the pages call them.
        backbones: the models that they run on.
    """
    if not names:
        return
    queues = {Queue.HOSTED if backbone.is_hosted else Queue.GPU for backbone in backbones}
    if any(DSPY not in extras_of(queue) for queue in queues):
        yield (
            f"{listed(names)} {'needs' if len(names) == 1 else 'need'} DSPy, an extra that no running worker has. Install it where the "
            "workers run with `pip install --no-deps --require-hashes -r requirements-dspy.lock` and start them again, or leave this out."
        )
    for backbone in backbones:
        if (problem := cannot_write(backbone)) is not None:
            yield f"{listed(names)} cannot run on {quoted(backbone.name)}: {problem}"


def cannot_write(backbone: Backbone) -> str | None:
    """Why a model cannot write instructions, by what its verification found; None when it can."""
    if backbone.is_hosted:
        protocol = backbone.facts.get("protocol")
        if protocol == "chat":
            return None
        return "its endpoint continues plain text and takes no conversation. Choose a chat model." if protocol else UNKNOWN
    has_chat = backbone.facts.get("has_chat_template")
    if has_chat:
        return None
    if has_chat is None:
        return UNKNOWN
    return "its tokenizer has no chat template, so it was not trained to follow instructions and cannot write any. Choose one that was."


UNKNOWN = "nobody knows yet whether it can write. Verify it in the Library first."

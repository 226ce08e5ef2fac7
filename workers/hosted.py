"""Jobs that ask a hosted model: the same order and the same result as an engine host's, made of calls over the network.

Every way out of such a job is here. Every call is written down before it is made (`workers.asking`).
"""

from collections.abc import Callable

from experiments.errors import UserError
from experiments.models import Backbone, Job, JobKind, JobState
from experiments.services.leases import Lease, lease_finish, lease_release
from experiments.services.results import inspection_commit
from workers.adapters import order_of
from workers.asking import KINDS, Asking, EndpointGivenUp
from workers.endpoint.client import Reply
from workers.endpoint.faults import Fault
from workers.endpoint.probing import DIALECTS, GREETING, GREETING_TOKENS, facts_of, may_ask_otherwise
from workers.endpoint.rounds import GivenUp, Interrupted, Question
from workers.endpoint.wording import Dialect
from workers.engine.contract.outcome import write_json
from workers.engine.contract.spec import RunSpec
from workers.host import Wish
from workers.hosted_run import HostedRun
from workers.outcomes import outcome_save


def hosted_perform(lease: Lease, job: Job, backbone: Backbone) -> None:
    """Do a job by asking its endpoint, and end it.

    Raises:
        UserError: the endpoint, the key or the budget stands in the way; what was answered is kept.
        LeaseLost: somebody else has the job.
    """
    asking = Asking(lease, job, backbone)
    try:
        if job.kind == JobKind.INSPECT:
            _inspect(asking)
        else:
            order = order_of(job, fence=lease.fence)
            spec = RunSpec.from_file(order.folder / "spec.json")
            result = HostedRun(asking, spec).execute(order.folder / "out")
            write_json(order.folder / "out" / "result.json", result.to_json())
            outcome_save(lease, order, {})
    except Interrupted as stop:
        WAYS_OUT[stop.wish](lease)
    finally:
        asking.close()


def _cancelled(lease: Lease) -> None:
    lease_finish(lease=lease, state=JobState.CANCELLED)


def _leaving(lease: Lease) -> None:
    lease_release(lease=lease)


def _dropped(lease: Lease) -> None:
    """Somebody else has the job; nothing of this attempt counts, and its answers are kept for them."""


WAYS_OUT: dict[Wish, Callable[[Lease], None]] = {Wish.CANCEL: _cancelled, Wish.LEAVE: _leaving, Wish.DROP: _dropped}


def _inspect(asking: Asking) -> None:
    """Find out how the endpoint wants to be asked: the first way that it answers is kept, the richest first.

    Raises:
        EndpointGivenUp: it answers in none of them; the sentence is about the first.
    """
    refusals: list[GivenUp] = []
    for dialect in DIALECTS:
        answers: list[Reply | Fault] = []
        rounds = asking.rounds(lambda question, outcome, answers=answers: answers.append(outcome))  # type: ignore[misc]
        rounds.is_probe = True
        try:
            rounds.run([Question(asking.ask_of(dialect.body(GREETING, {"text": "Hello"}, GREETING_TOKENS), dialect))])
        except GivenUp as error:
            refusals.append(error)
            if not may_ask_otherwise(error.fault):
                break
        else:
            _inspected(asking, answers[0], dialect)
            return
    raise EndpointGivenUp(refusals[0].sentence, KINDS[refusals[0].fault.trouble])


def _inspected(asking: Asking, answer: Reply | Fault, dialect: Dialect) -> None:
    assert isinstance(answer, Reply)
    now = Backbone.objects.get(pk=asking.backbone.pk)
    if (now.source, now.remote_model) != (asking.backbone.source, asking.backbone.remote_model):
        raise UserError("The endpoint was changed while it was being verified. Verify it again.")
    inspection_commit(lease=asking.lease, facts=facts_of(answer, dialect))

"""The pace of many calls: how many at once and a minute, when to wait, when to ask again, and when to give up.

One thread plans, writes down and records; a few others wait for answers. Whatever ends a round early, calls under way are heard out,
so that nothing that was paid for is lost. Knows no database: the caller's ledger keeps what is to be kept.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from experiments.wording import counted
from workers.endpoint.client import Reply
from workers.endpoint.faults import Fault, Trouble
from workers.host import Wish

LOOK_SECONDS = 0.25
MOST_PAUSE_SECONDS = 60.0
FAILURES_A_ROW = 6
HEAR_OUT_SECONDS, HEAR_OUT_BRIEFLY = 60.0, 8.0
# After so many unreadable answers in a row no row of this run gets an answer: before any good one, and after. They may be billed, which
# refusals are not.
ENOUGH_AT_FIRST, ENOUGH_LATER = 3, 20
# A row is asked again among others, so that one that the endpoint stumbles over shows itself while others are answered.
AGAIN_AFTER = 8


@dataclass(frozen=True)
class Pace:
    """How an endpoint is asked.

    Args:
        requests_per_minute: 0 sets no limit of our own.
        patience_seconds: without a single good answer for so long, it is given up.
        first_pause_seconds: the first wait after a fault; it doubles with every further one.
    """

    concurrency: int = 4
    requests_per_minute: int = 0
    patience_seconds: float = 300.0
    first_pause_seconds: float = 1.0


@dataclass
class Gate:
    """When the next call may begin, by the pace and by the endpoint's own wish: one for all that a job asks, however it asks it."""

    next_start: float = 0.0
    pause_until: float = 0.0


@dataclass
class Question:
    """One row that is to be asked. `mark` is the caller's own; `failures` are those that may lie in the row itself."""

    mark: Any
    failures: int = 0


class Ledger(Protocol):
    """What keeps account of calls."""

    def intend(self, questions: Sequence[Question]) -> list[Any]:
        """Write down calls before they are made; a receipt each, fewer when the budget allows fewer.

        Raises:
            NoRoom: it allows none.
        """

    def settle(self, receipt: Any, question: Question, outcome: Reply | Fault) -> None:
        """Write down what became of a call."""


class NoRoom(Exception):
    """The budget has no room for another call while those under way may still cost what they can cost at most."""


class GivenUp(Exception):
    """The endpoint gave no answers any more. `sentence` says why; `fault` is the last one."""

    def __init__(self, sentence: str, fault: Fault) -> None:
        super().__init__(sentence)
        self.sentence, self.fault = sentence, fault


class Interrupted(Exception):
    """The outside wants something else."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(wish.value)
        self.wish = wish


@dataclass
class Rounds:
    """Asks questions until each has an answer or a reason why it has none.

    Args:
        ask: makes one call in a thread of its own; raises Fault.
        look: what the outside wants, asked often.
        on_end: hears of each question that is done with, with its Reply or Fault.
        is_probe: one refusal is enough; only an endpoint that asks to be called more slowly is waited for.
        has_answered: whether it answered other rows of the same work before.
        num_sharing: how many such works ask the endpoint now, this one among them; they divide the pace.
    """

    ask: Callable[[Question], Reply]
    ledger: Ledger
    pace: Pace
    look: Callable[[], Wish]
    on_end: Callable[[Question, Reply | Fault], None]
    is_probe: bool = False
    has_answered: bool = False
    num_sharing: Callable[[], int] = lambda: 1
    gate: Gate = field(default_factory=Gate)
    num_again: int = 0
    _waiting: deque[Question] = field(default_factory=deque)
    _under_way: dict["Future[Reply]", tuple[Any, Question, float]] = field(default_factory=dict)
    _level: int = 0
    _streak: int = 0
    _has_succeeded: bool = False
    _troubled_since: float | None = None

    def run(self, questions: Sequence[Question]) -> None:
        """Ask them all.

        Raises:
            GivenUp: the endpoint gives no answers, whatever is asked.
            Interrupted: the outside wants to stop.
            NoRoom: the budget is used up.
        """
        self._waiting.extend(questions)
        pool = ThreadPoolExecutor(self.pace.concurrency, thread_name_prefix="endpoint")
        try:
            while self._waiting or self._under_way:
                self._check_wish()
                self._start(pool)
                self._hear(LOOK_SECONDS)
        except BaseException as error:
            self._hear_out(error)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _check_wish(self) -> None:
        wish = self.look()
        if wish is not Wish.GO_ON:
            raise Interrupted(wish)

    def _start(self, pool: ThreadPoolExecutor) -> None:
        """Begin as many calls as pace and pauses allow now."""
        now = time.monotonic()
        if now < self.gate.pause_until or now < self.gate.next_start:
            return
        sharing = max(1, self.num_sharing())
        room = max(1, self.pace.concurrency // sharing) - len(self._under_way)
        if self._level:  # after a fault, one call tests the ground
            room = min(room, 1 - len(self._under_way))
        if self.pace.requests_per_minute:
            room = min(room, 1)
        chosen = [self._waiting[place] for place in range(min(max(room, 0), len(self._waiting)))]
        if not chosen:
            return
        try:
            receipts = self.ledger.intend(chosen)
        except NoRoom:
            if self._under_way:  # their bills may leave room
                return
            raise
        for receipt in receipts:
            question = self._waiting.popleft()
            self._under_way[pool.submit(self.ask, question)] = receipt, question, time.monotonic()
        if self.pace.requests_per_minute:
            self.gate.next_start = max(self.gate.next_start, now) + 60.0 * sharing / self.pace.requests_per_minute

    def _hear(self, seconds: float) -> None:
        """Wait a moment for answers, and record those that came."""
        if not self._under_way:
            time.sleep(min(seconds, max(0.0, max(self.gate.pause_until, self.gate.next_start) - time.monotonic())))
            return
        done, _ = wait(self._under_way, timeout=seconds, return_when=FIRST_COMPLETED)
        given_up: GivenUp | None = None
        for future in done:  # all of them are recorded, even when the first is reason enough to stop
            try:
                self._record(future)
            except GivenUp as error:
                given_up = given_up or error
        if given_up:
            raise given_up

    def _record(self, future: "Future[Reply]") -> None:
        receipt, question, started = self._under_way.pop(future)
        outcome: Reply | Fault
        try:
            outcome = future.result()
        except Fault as fault:
            outcome = fault
        self.ledger.settle(receipt, question, outcome)
        if isinstance(outcome, Reply):
            self._level = self._streak = 0
            self._has_succeeded, self._troubled_since = True, None
            self.on_end(question, outcome)
        else:
            self._after_fault(question, outcome, started)

    def _after_fault(self, question: Question, fault: Fault, started: float) -> None:
        if fault.trouble is Trouble.FINAL or (self.is_probe and fault.status != 429):
            raise GivenUp(fault.sentence, fault)
        if fault.trouble is Trouble.BUSY:
            self._wait_for(fault, started)
        else:
            self._streak += 1
            may_be_rows = self._has_succeeded or fault.trouble is Trouble.ROW
            if self._streak >= (ENOUGH_LATER if may_be_rows else ENOUGH_AT_FIRST):
                raise GivenUp(fault.sentence, fault)
        question.failures += fault.may_lie_in_row
        if fault.trouble is Trouble.ROW or (question.failures >= FAILURES_A_ROW and (self._has_succeeded or self.has_answered)):
            self.on_end(question, fault)
        else:
            self.num_again += 1
            self._waiting.insert(AGAIN_AFTER, question)

    def _wait_for(self, fault: Fault, started: float) -> None:
        """Pause everything, longer each time and no shorter than the endpoint asks; give up when that is longer than there is patience."""
        now = time.monotonic()
        self._troubled_since = self._troubled_since or now
        patience = self.pace.patience_seconds
        if started >= self.gate.pause_until:  # calls that were under way together are one fault
            self._level += 1
        doubled = min(self.pace.first_pause_seconds * 2.0 ** min(self._level - 1, 30), MOST_PAUSE_SECONDS)
        asked = fault.retry_after or 0.0
        pause = max(asked, doubled * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        if asked > patience:
            raise GivenUp(f"{fault.sentence} It asks to wait {asked:,.0f} seconds. Try again then.", fault)
        if now + pause - self._troubled_since > patience:
            raise GivenUp(f"{fault.sentence} Nothing was answered for {patience:,.0f} seconds. Try again later.", fault)
        self.gate.pause_until = max(self.gate.pause_until, now + pause)

    def _hear_out(self, error: BaseException) -> None:
        """Record the answers of calls under way; briefly where somebody waits for this to stop."""
        until = time.monotonic() + (HEAR_OUT_BRIEFLY if isinstance(error, Interrupted) else HEAR_OUT_SECONDS)
        while self._under_way and time.monotonic() < until:
            done, _ = wait(self._under_way, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            self.look()  # keeps the lease; what it wants is known
            for future in done:
                receipt, question, _ = self._under_way.pop(future)
                fault = future.exception()
                if fault is None or isinstance(fault, Fault):
                    self.ledger.settle(receipt, question, fault or future.result())


def asked_words(num_answered: int, num_rows: int) -> str:
    """How many rows got an answer that is kept, and how many were not asked or not answered."""
    return (
        f"{counted(num_answered, 'row')} of {num_rows:,} {'is' if num_answered == 1 else 'are'} answered and kept, "
        f"{num_rows - num_answered:,} {'is' if num_rows - num_answered == 1 else 'are'} not."
    )

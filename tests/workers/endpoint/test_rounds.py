"""The pace of calls: once, together, again, later, never."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.workers.endpoint.server import wait_until
from workers.endpoint.client import Reply
from workers.endpoint.faults import Fault, Trouble
from workers.endpoint.rounds import Gate, GivenUp, Interrupted, NoRoom, Pace, Question, Rounds
from workers.host import Wish

GOOD = Reply("refund")
SLOWER = Fault(Trouble.BUSY, "Too fast.", status=429)
AT_ONCE = Fault(Trouble.BUSY, "Too fast.", status=429, retry_after=0.0)
AWAY = Fault(Trouble.BUSY, "Not reached.")
TOO_SLOW = Fault(Trouble.BUSY, "No answer in time.", may_be_billed=True)
BROKEN = Fault(Trouble.BUSY, "Could not answer.", status=503)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("workers.endpoint.rounds.time", clock)
    return clock


class Book:
    """A ledger in memory that allows so many calls."""

    def __init__(self, room: int = 1000) -> None:
        self.room, self.begun, self.ended, self.together = room, [], [], []

    def intend(self, questions: Sequence[Question]) -> list[Any]:
        if not self.room:
            raise NoRoom("The budget is used up.")
        allowed = [question.mark for question in questions[: self.room]]
        self.room -= len(allowed)
        self.begun += allowed
        self.together.append(len(allowed))
        return allowed

    def settle(self, receipt: Any, question: Question, outcome: Reply | Fault) -> None:
        self.ended.append((receipt, outcome))


def go(answer, rows: int = 4, *, book: Book | None = None, look=lambda: Wish.GO_ON, **pace) -> tuple[Book, dict[Any, Any]]:
    """Ask rows 0, 1, …; `answer` gives a Reply, or a Fault that is raised."""
    book = book or Book()
    outcomes: dict[Any, Any] = {}

    def ask(question: Question) -> Reply:
        given: Reply | Fault = answer(question.mark)
        if isinstance(given, Fault):
            raise given
        return given

    def on_end(question: Question, outcome: Any) -> None:
        outcomes[question.mark] = outcome

    patience = Pace(**{"first_pause_seconds": 0.01, "patience_seconds": 0.2} | pace)
    Rounds(ask, book, patience, look, on_end).run([Question(number) for number in range(rows)])
    return book, outcomes


def raised(fault: Fault) -> Reply:
    raise fault


def noting(notes: list[Any], note: Any, given: Any) -> Any:
    """The answer, after something was noted down."""
    notes.append(note)
    return given


def scripted(*given: Any) -> Callable[[Any], Any]:
    left = list(given)
    return lambda mark: left.pop(0) if left else GOOD


def test_every_row_is_asked_once_and_written_down_before():
    book = Book()
    seen: list[bool] = []

    go(lambda mark: noting(seen, mark in book.begun, GOOD), 9, book=book)

    assert seen == [True] * 9
    assert sorted(book.begun) == list(range(9))
    assert len(book.ended) == 9


def test_no_more_calls_at_once_than_allowed():
    lock, now, most = threading.Lock(), [0], [0]

    def answer(mark: int) -> Reply:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return GOOD

    go(answer, 8, concurrency=3)

    assert most[0] == 3


def test_calls_a_minute_are_spread():
    began = time.monotonic()

    book, _ = go(lambda mark: GOOD, 4, requests_per_minute=1200)

    assert book.together == [1, 1, 1, 1]
    assert time.monotonic() - began >= 3 * 60 / 1200


def test_works_that_ask_the_same_endpoint_divide_its_pace(clock):
    book, starts = Book(), []
    pace = Pace(concurrency=1, requests_per_minute=60)

    rounds = Rounds(
        lambda question: noting(starts, clock.now, GOOD),
        book,
        pace,
        lambda: Wish.GO_ON,
        lambda question, outcome: None,
        num_sharing=lambda: 3,
    )
    rounds.run([Question(number) for number in range(4)])

    assert [start - starts[0] for start in starts] == [0.0, 3.0, 6.0, 9.0]


@pytest.mark.parametrize(("sharing", "together"), [(1, 8), (3, 2), (20, 1)])
def test_works_that_ask_the_same_endpoint_divide_the_calls_at_once(sharing, together):
    book = Book()
    pace = Pace(concurrency=8)
    rounds = Rounds(lambda question: GOOD, book, pace, lambda: Wish.GO_ON, lambda question, outcome: None, num_sharing=lambda: sharing)

    rounds.run([Question(number) for number in range(40)])

    assert max(book.together) == together


def test_calls_asked_one_by_one_keep_the_pace_of_their_job(clock):
    """A search asks each row by itself, as its answers decide what it asks next."""
    gate, starts = Gate(), []

    for number in range(3):
        pace = Pace(requests_per_minute=30)
        ask = lambda question: noting(starts, clock.now, GOOD)  # noqa: E731
        Rounds(ask, Book(), pace, lambda: Wish.GO_ON, lambda question, outcome: None, gate=gate).run([Question(number)])

    assert [start - starts[0] for start in starts] == [0.0, 2.0, 4.0]


def test_busy_endpoint_is_asked_again_and_nothing_is_lost():
    book, outcomes = go(scripted(SLOWER, SLOWER, GOOD))

    assert outcomes == dict.fromkeys(range(4), GOOD)
    assert len(book.begun) == 6


def test_pause_that_the_endpoint_asks_for_is_kept():
    starts: list[float] = []
    answer = scripted(Fault(Trouble.BUSY, "Too fast.", retry_after=0.15, status=429))

    go(lambda mark: noting(starts, time.monotonic(), answer(mark)), 1)

    assert starts[1] - starts[0] >= 0.15


def test_endpoint_that_is_busy_for_ever_is_given_up():
    with pytest.raises(GivenUp, match=r"Too fast\. Nothing was answered for 0 seconds"):
        go(lambda mark: SLOWER)


@pytest.mark.parametrize("fault", [AT_ONCE, AWAY], ids=["called too fast", "away"])
def test_endpoint_that_stops_answering_costs_no_row_and_is_not_hammered(clock, fault):
    book, outcomes = Book(), {}
    rounds = Rounds(
        lambda question: raised(fault) if book.ended else GOOD,
        book,
        Pace(concurrency=1, patience_seconds=300.0),
        lambda: Wish.GO_ON,
        lambda question, outcome: outcomes.update({question.mark: outcome}),
    )

    with pytest.raises(GivenUp, match="Nothing was answered for 300 seconds"):
        rounds.run([Question(number) for number in range(2)])

    assert outcomes == {0: GOOD}
    assert book.begun.count(1) == len(book.begun) - 1 < 20


@pytest.mark.parametrize("fault", [TOO_SLOW, BROKEN], ids=["no answer in time", "server error"])
def test_row_that_the_endpoint_stumbles_over_is_left_after_six_failures(clock, fault):
    book, outcomes = go(lambda mark: fault if mark == 1 else GOOD, 3, concurrency=1, first_pause_seconds=1.0, patience_seconds=300.0)

    assert outcomes == {0: GOOD, 1: fault, 2: GOOD}
    assert book.begun.count(1) == 6


def test_rows_that_the_endpoint_stumbles_over_are_left_one_by_one_while_others_are_answered(clock):
    """Kept for the end, they would look like an endpoint that has gone away."""
    bad = {3, 4, 5, 6, 7}

    _, outcomes = go(lambda mark: TOO_SLOW if mark in bad else GOOD, 120, concurrency=1, first_pause_seconds=1.0, patience_seconds=300.0)

    assert outcomes == {row: TOO_SLOW if row in bad else GOOD for row in range(120)}


def test_row_that_failed_in_earlier_attempts_is_left_sooner_when_others_were_answered_then(clock):
    outcomes: dict[Any, Any] = {}
    book = Book()
    pace = Pace(concurrency=1, patience_seconds=300.0)
    rounds = Rounds(
        lambda question: raised(TOO_SLOW),
        book,
        pace,
        lambda: Wish.GO_ON,
        lambda question, outcome: outcomes.update({question.mark: outcome}),
        has_answered=True,
    )

    rounds.run([Question(number, failures=4) for number in range(3)])

    assert outcomes == dict.fromkeys(range(3), TOO_SLOW)
    assert len(book.begun) == 6


def refusing_first(rows: int) -> Callable[[int], Reply | Fault]:
    """Refuses so many rows and answers all after them."""
    return lambda mark: Fault(Trouble.ROW, "Too long.", status=400) if mark < rows else GOOD


def test_first_rows_that_are_refused_do_not_end_the_run():
    _, outcomes = go(refusing_first(19), 30, concurrency=1)

    assert [row for row, outcome in outcomes.items() if outcome is not GOOD] == list(range(19))


def test_endpoint_that_refuses_row_after_row_is_given_up():
    with pytest.raises(GivenUp, match="Too long"):
        go(refusing_first(25), 30, concurrency=1)


def test_endpoint_that_asks_for_hours_is_given_up_at_once():
    asked: list[int] = []

    with pytest.raises(GivenUp, match="asks to wait 7,200 seconds"):
        go(lambda mark: noting(asked, mark, Fault(Trouble.BUSY, "Too fast.", retry_after=7200)), 1)

    assert len(asked) == 1


def test_wrong_key_ends_it_after_the_calls_under_way():
    book = Book()

    with pytest.raises(GivenUp, match="Bad key"):
        go(lambda mark: Fault(Trouble.FINAL, "Bad key."), 50, book=book, concurrency=2)

    assert len(book.begun) <= 2
    assert len(book.ended) == len(book.begun)


def test_garbage_from_the_first_call_on_is_given_up():
    book = Book()

    with pytest.raises(GivenUp, match="Garbage"):
        go(lambda mark: Fault(Trouble.GARBLED, "Garbage."), 50, book=book, concurrency=1)

    assert len(book.begun) == 3


def test_one_refused_row_is_an_error_of_that_row():
    refused = Fault(Trouble.ROW, "Too long.")

    _, outcomes = go(lambda mark: refused if mark == 2 else GOOD)

    assert outcomes == {0: GOOD, 1: GOOD, 2: refused, 3: GOOD}


def test_budget_ends_it_with_everything_recorded():
    book = Book(room=3)

    with pytest.raises(NoRoom):
        go(lambda mark: GOOD, 10, book=book)

    assert len(book.begun) == len(book.ended) == 3


def test_stop_hears_calls_under_way_out():
    book, wish, go_on = Book(), [Wish.GO_ON], threading.Event()

    def answer(mark: int) -> Reply:
        wish[0] = Wish.CANCEL
        go_on.wait(5)
        return GOOD

    def let_go() -> None:
        wait_until(lambda: wish[0] is Wish.CANCEL)
        go_on.set()

    release = threading.Thread(target=let_go)
    release.start()
    with pytest.raises(Interrupted):
        go(answer, 50, book=book, look=lambda: wish[0], concurrency=2)
    release.join()

    assert len(book.ended) == len(book.begun) <= 2

"""The checker itself: it finds every way in which a promise can be broken."""

from collections.abc import Callable
from typing import Any

import pytest
from faults.history import PROMISE_S, SLACK_S, Asked, History, Terms
from support.journal import Execution

from pipeline_protocol.codec import answer, refusal
from pipeline_protocol.replies import Context

TIMEOUT_S = 10.0
Ran = list[Execution]


def right(token: str = "token", worker: str = "w1", attempt: int = 1) -> bytes:
    return answer({"token": token}, Context(worker=worker, attempt=attempt))


def good() -> tuple[Asked, Ran]:
    asked = Asked("run-1", b"", "token", TIMEOUT_S, [200], sent=[100.0], heard=[(101.0, right())])
    return asked, [Execution("w1", 1, ended=True)]


def check(asked: Asked, ran: Ran, **terms: Any) -> None:
    history = History()
    history.add(asked)
    history.check({asked.id: ran} if ran else {}, Terms(**terms))


def unanswered(asked: Asked, ran: Ran) -> None:
    asked.heard.clear()


def answered_twice(asked: Asked, ran: Ran) -> None:
    asked.heard *= 2


def answered_by_rubbish(asked: Asked, ran: Ran) -> None:
    asked.heard = [(101.0, b"{")]


def answered_with_another_code(asked: Asked, ran: Ran) -> None:
    asked.heard = [(101.0, refusal(510, ""))]


def answered_with_anothers_answer(asked: Asked, ran: Ran) -> None:
    asked.heard = [(101.0, right("another's"))]


def answered_by_nobody(asked: Asked, ran: Ran) -> None:
    ran.clear()


def answered_before_it_ended(asked: Asked, ran: Ran) -> None:
    ran[0].ended = False


def answered_by_another_attempt(asked: Asked, ran: Ran) -> None:
    asked.heard = [(101.0, right(attempt=2))]


def answered_too_late(asked: Asked, ran: Ran) -> None:
    asked.heard = [(100.1 + TIMEOUT_S + PROMISE_S + SLACK_S, right())]


def given_up_too_early(asked: Asked, ran: Ran) -> None:
    asked.codes = [504]
    asked.heard = [(101.0, refusal(504, ""))]


def ran_too_often(asked: Asked, ran: Ran) -> None:
    ran *= 2


def refused_but_run(asked: Asked, ran: Ran) -> None:
    asked.codes = [503]
    asked.heard = [(101.0, refusal(503, "", Context(retry_after_s=1.0)))]


def refused_without_a_word_when_to_try_again(asked: Asked, ran: Ran) -> None:
    asked.codes = [503]
    asked.heard = [(101.0, refusal(503, ""))]
    ran.clear()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (unanswered, "0 answers"),
        (answered_twice, r"2 answers instead of one: \[200, 200\]"),
        (answered_by_rubbish, "cannot be read"),
        (answered_with_another_code, "510.*where .200. would be right"),
        (answered_with_anothers_answer, "the answer to another's"),
        (answered_by_nobody, "did not end it"),
        (answered_before_it_ended, "did not end it"),
        (answered_by_another_attempt, "did not end it"),
        (answered_too_late, "its time was 10 s"),
        (given_up_too_early, "deadline is said to have passed"),
        (ran_too_often, "ran 2 times, at most 1"),
        (refused_but_run, "but it ran"),
        (refused_without_a_word_when_to_try_again, "when to try again"),
    ],
)
def test_a_broken_promise_is_found(broken: Callable[[Asked, Ran], None], said: str) -> None:
    asked, ran = good()
    broken(asked, ran)
    with pytest.raises(AssertionError, match=said):
        check(asked, ran)


def test_a_kept_promise_is_not_complained_of() -> None:
    check(*good())


def test_a_router_that_died_gives_time_anew() -> None:
    asked, ran = good()
    asked.sent.append(120.0)
    asked.heard = [(125.0, right())]
    check(asked, ran, router_died=True)
    with pytest.raises(AssertionError, match="answered 25"):
        check(asked, ran)


def test_what_nobody_asked_for_is_found() -> None:
    with pytest.raises(AssertionError, match="run-9: ran, but nobody asked for it"):
        History().check({"run-9": [Execution("w1", 1)]}, Terms())


def test_who_has_gone_is_owed_no_answer() -> None:
    asked, ran = good()
    asked.abandoned = True
    asked.heard.clear()
    check(asked, ran)

"""What became of every request, and THE checker that judges it.

Clients write down when they sent what and all that they heard; workers write down what they began
and ended. Whatever a test did meanwhile, the promise is the same.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from support.journal import Execution
from support.pace import paced

from pipeline_protocol import status
from pipeline_protocol.codec import BadMessage, decode_reply
from pipeline_protocol.replies import Reply

PROMISE_S = 1.0
"""After its deadline a request has been answered."""
SLACK_S = 5.0
"""For a machine that has other things to do: the test's own allowance, no promise."""

_NEVER_RAN = {status.MALFORMED, status.NO_WORKER, status.UNKNOWN_VERSION, status.NOT_READY}


@dataclass(eq=False)
class Asked:
    """A request, and all that its client saw of it."""

    id: str
    body: bytes
    token: str
    timeout_s: float
    codes: Collection[int]
    abandoned: bool = False
    """Its client has gone without waiting for the answer."""
    sent: list[float] = field(default_factory=list)
    heard: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def answered(self) -> bool:
        return bool(self.heard) or self.abandoned

    @property
    def reply(self) -> Reply:
        return decode_reply(self.heard[0][1])

    @property
    def code(self) -> int:
        return self.reply.status.code

    @property
    def waited_s(self) -> float:
        """From the first sending to the first answer."""
        return self.heard[0][0] - self.sent[0]


@dataclass
class Terms:
    """What a test may do to its requests; the least by default."""

    executions: int = 1
    """At most, of one request: 1 where no worker and no router died."""
    router_died: bool = False
    """Then a request's time began anew when it was sent again."""
    journaled: bool = True
    """Real tools keep no journal."""


class History:
    """Every request of a test."""

    def __init__(self) -> None:
        self.all: list[Asked] = []

    def add(self, asked: Asked) -> Asked:
        self.all.append(asked)
        return asked

    def codes(self) -> set[int]:
        """Return every code that was answered with."""
        return {asked.code for asked in self.all if asked.heard}

    def check(self, executions: dict[str, list[Execution]], terms: Terms) -> None:
        """Hold every request to the promise; AssertionError names each that was broken."""
        faults = [
            f"{asked.id}: {fault}"
            for asked in self.all
            for fault in _faults(asked, executions.get(asked.id, []), terms)
        ]
        unasked = executions.keys() - {asked.id for asked in self.all}
        faults += [f"{one}: ran, but nobody asked for it" for one in sorted(unasked)]
        listed = "\n".join(faults[:20])
        assert not faults, f"{len(faults)} faults in {len(self.all)} requests:\n{listed}"


def await_answers(
    all_asked: Sequence[Asked], seconds: float, alive: Callable[[], bool] = lambda: True
) -> None:
    """Wait until each of these is answered."""
    until = time.monotonic() + paced(seconds)
    while missing := [asked.id for asked in all_asked if not asked.answered]:
        assert alive(), "the clients have failed"
        assert time.monotonic() < until, f"{len(missing)} unanswered: {missing[:10]}"
        time.sleep(0.02)


def _faults(asked: Asked, ran: list[Execution], terms: Terms) -> Iterator[str]:
    """Say all that was wrong with one request."""
    if len(asked.heard) != (0 if asked.abandoned else 1):
        codes = [_code(body) for _, body in asked.heard]
        yield f"{len(asked.heard)} answers instead of one: {codes}"
    if len(ran) > terms.executions:
        yield f"ran {len(ran)} times, at most {terms.executions} are allowed: {ran}"
    if not asked.heard:
        return
    try:
        reply = asked.reply
    except BadMessage as error:
        yield f"its answer cannot be read: {error}"
        return
    if reply.status.code not in asked.codes:
        yield f"{reply.status}, where {sorted(asked.codes)} would be right"
    yield from _untimely(asked, reply, terms)
    yield from _wrong(asked, reply)
    if terms.journaled:
        yield from _unfounded(reply, ran)


def _untimely(asked: Asked, reply: Reply, terms: Terms) -> Iterator[str]:
    at, _ = asked.heard[0]
    since = asked.sent[-1] if terms.router_died else asked.sent[0]
    if at > since + asked.timeout_s + PROMISE_S + SLACK_S:
        yield f"answered {at - since:.1f} s after it was sent, its time was {asked.timeout_s:g} s"
    if reply.status.code == status.DEADLINE_PASSED and at < asked.sent[0] + asked.timeout_s:
        yield f"its deadline is said to have passed after {at - asked.sent[0]:.2f} s"


def _wrong(asked: Asked, reply: Reply) -> Iterator[str]:
    if reply.status.code == status.OK:
        said: Any = msgspec.json.decode(bytes(reply.response))  # type: ignore[arg-type]
        if said["token"] != asked.token:
            yield f"it got the answer to {said['token']}"
    if reply.status.code == status.NO_WORKER and reply.context.retry_after_s is msgspec.UNSET:
        yield "its 503 does not say when to try again"


def _unfounded(reply: Reply, ran: list[Execution]) -> Iterator[str]:
    """Hold an answer against what workers did."""
    if reply.status.code == status.OK:
        by = (reply.context.worker, reply.context.attempt)
        if by not in {(one.worker, one.attempt) for one in ran if one.ended}:
            yield f"answered by {by}, which did not end it: {ran}"
    if reply.status.code in _NEVER_RAN and ran:
        yield f"refused with {reply.status.code}, but it ran: {ran}"


def _code(body: bytes) -> int | str:
    try:
        return decode_reply(body).status.code
    except BadMessage as error:
        return str(error)

"""The exchanges in flight on a connection: what to send now, whose a reply is, when to look. Pure.

Nothing is sent before there is a connection. When one is made anew, all that waits is sent again:
whatever was on its way is lost, and nobody says so. Requests that workers serve carry an id, by
which the router knows the second for the first; of what it answers itself, most is harmless twice,
and the rest is sent once only.

What hears nothing for long is sent again too, over the same connection: after `resend_after_s`,
then twice as long, and so on. A job that takes long is so asked for a handful of times, while an
answer that got lost in any other way is found again. A little chance in it keeps a thousand that
began together from being sent again together.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from pipeline_client._plans.steps import Exchange
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import codec, status

W = TypeVar("W")

MOST = 5_000
"""That the router owes an answer: beyond twice as many it drops what a client does not read."""
_JITTER = 0.2

Heard = bytes | tuple[str, ...] | PipelineError
"""A final reply, lines on the way, or why there will be no reply."""


class _Waiting(Generic[W]):
    """One exchange, and who waits for its end."""

    __slots__ = ("exchange", "queued", "resend_at", "scheduled", "sent", "silence_s", "waiter")

    def __init__(self, exchange: Exchange, waiter: W, silence_s: float) -> None:
        self.exchange = exchange
        self.waiter = waiter
        self.silence_s = silence_s
        self.resend_at = float("inf")
        self.sent = False
        """At least once, over whichever connection."""
        self.queued = False
        self.scheduled = False
        """Whether it is among the resends, once, perhaps earlier than it is due by now."""


class Delivery(NamedTuple, Generic[W]):
    """Something heard, and for whom."""

    waiter: W
    heard: Heard


class InFlight(Generic[W]):
    """Times are of any monotonic clock; `W` is what the caller knows those who wait by."""

    def __init__(self, resend_after_s: float, chance: Callable[[], float]) -> None:
        self._resend_after_s = resend_after_s
        self._chance = chance
        self._waiting: dict[bytes, _Waiting[W]] = {}
        self._queue: deque[bytes] = deque()
        self._resends: list[tuple[float, bytes]] = []
        self._owed = 0
        self._connected = False

    def begin(self, number: bytes, exchange: Exchange, waiter: W) -> None:
        """Take an exchange in; by its number, no other has it, its answer will be known."""
        self._waiting[number] = _Waiting(exchange, waiter, self._resend_after_s)
        self._enqueue(number)

    def forget(self, number: bytes) -> None:
        """Let an exchange go, if it is still there; an answer to it is passed over."""
        waiting = self._waiting.pop(number, None)
        if waiting and waiting.sent:
            self._owed -= 1

    def waiters(self) -> list[W]:
        """Return all that wait."""
        return [waiting.waiter for waiting in self._waiting.values()]

    # --- the connection

    def connect(self) -> None:
        """Know of a new connection: all is sent over it, but for what is sent once only."""
        self._connected = True
        for number, waiting in self._waiting.items():
            if waiting.exchange.resendable or not waiting.sent:
                self._enqueue(number)

    def disconnect(self) -> None:
        """Know that there is none."""
        self._connected = False
        for number in self._queue:
            if number in self._waiting:
                self._waiting[number].queued = False
        self._queue.clear()

    # --- sending

    def next_to_send(self) -> tuple[bytes, bytes, bytes] | None:
        """Return the frames that are to go out next, until they are `sent`; None: nothing is."""
        while self._queue:
            number = self._queue[0]
            waiting = self._waiting.get(number)
            if waiting is None:
                self._queue.popleft()
            elif not waiting.sent and self._owed >= MOST:
                return None
            else:
                return number, b"", waiting.exchange.body
        return None

    def sent(self, now: float) -> None:
        """Know that the socket took them."""
        number = self._queue.popleft()
        waiting = self._waiting[number]
        waiting.queued = False
        self._owed += not waiting.sent
        waiting.sent = True
        if waiting.exchange.resendable:
            self._schedule(number, waiting, now)

    def wake_at(self) -> float:
        """Return when `wake` is due."""
        return self._resends[0][0] if self._resends else float("inf")

    def wake(self, now: float) -> None:
        """Have what has been silent for too long sent again."""
        while self._resends and self._resends[0][0] <= now:
            _, number = heapq.heappop(self._resends)
            waiting = self._waiting.get(number)
            if waiting is None:
                continue
            waiting.scheduled = False
            if waiting.exchange.deadline <= now:
                self.forget(number)  # whoever waited was interrupted before he could say so
            elif waiting.resend_at > now:
                self._schedule_at(number, waiting, waiting.resend_at)
            else:
                waiting.silence_s *= 2
                self._enqueue(number)

    def _schedule(self, number: bytes, waiting: _Waiting[W], now: float) -> None:
        jitter = 1 + _JITTER * self._chance()
        self._schedule_at(number, waiting, now + waiting.silence_s * jitter)

    def _schedule_at(self, number: bytes, waiting: _Waiting[W], when: float) -> None:
        waiting.resend_at = when
        if not waiting.scheduled:
            waiting.scheduled = True
            heapq.heappush(self._resends, (when, number))

    def _enqueue(self, number: bytes) -> None:
        waiting = self._waiting[number]
        if self._connected and not waiting.queued:
            waiting.queued = True
            self._queue.append(number)

    # --- hearing

    def hear(self, frames: Sequence[bytes], now: float) -> Delivery[W] | None:
        """Return what to tell whom; None for an answer that nobody waits for any more."""
        waiting = self._waiting.get(frames[0])
        if waiting is None:
            return None
        if len(frames) != 3 or frames[1]:
            self.forget(frames[0])
            why = f"the router's answer has {len(frames)} frames"
            return Delivery(waiting.waiter, error_of(status.MALFORMED_REPLY, why))
        lines = codec.decode_progress(frames[2]) if waiting.exchange.on_line else None
        if lines is None:
            self.forget(frames[0])
            return Delivery(waiting.waiter, frames[2])
        waiting.silence_s = self._resend_after_s
        if waiting.exchange.resendable:
            self._schedule(frames[0], waiting, now)
        return Delivery(waiting.waiter, lines)

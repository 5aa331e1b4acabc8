"""A connection for the tasks of one event loop, which watches its file descriptors.

Without a thread, and without `zmq.asyncio`, which makes a future for each message: here the loop
calls when something has come, and all of it is read in one go.
"""

import asyncio
import itertools
import os

import zmq

from pipeline_client._plans.options import ClientOptions
from pipeline_client._plans.steps import Exchange
from pipeline_client._transport.connection import Connection
from pipeline_client._transport.inflight import Heard
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import status

Inbox = asyncio.Queue[Heard]


class AsyncioTransport:
    """To be used in its loop; a forked child's loop is another one."""

    def __init__(self, options: ClientOptions, loop: asyncio.AbstractEventLoop) -> None:
        self._pid = os.getpid()
        self._loop = loop
        self._clock = options.clock
        self._closed = False
        self._numbers = itertools.count()
        self._connection: Connection[Inbox] = Connection(options)
        self._descriptors = [int(each.get(zmq.FD)) for each in self._connection.sockets]
        self._turn_due = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        for descriptor in self._descriptors:
            loop.add_reader(descriptor, self._turn)
        self._soon()

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether it can be used in that loop, of this process."""
        return not self._closed and self._loop is loop and self._pid == os.getpid()

    def over(self) -> bool:
        """Return whether nobody can use it any more."""
        return self._closed or self._loop.is_closed() or self._pid != os.getpid()

    async def perform(self, exchange: Exchange) -> bytes:
        """Return the final reply; lines on the way go to `on_line`."""
        number = next(self._numbers).to_bytes(8, "big")
        inbox: Inbox = asyncio.Queue()
        self._connection.in_flight.begin(number, exchange, inbox)
        self._soon()
        limit = asyncio.timeout(max(0.0, exchange.deadline - self._clock()))
        try:
            async with limit:
                while True:
                    heard = await inbox.get()
                    if isinstance(heard, bytes):
                        return heard
                    if isinstance(heard, PipelineError):
                        raise heard
                    if exchange.on_line:
                        for line in heard:
                            exchange.on_line(line)
        except TimeoutError:
            if not limit.expired():
                raise  # the caller's own, from `on_line`
            why = self._connection.explained(exchange.too_late)
            raise error_of(status.CLIENT_TIMED_OUT, why) from None
        finally:
            self._connection.in_flight.forget(number)

    def close(self) -> None:
        """Let go of the connection; what waits ends with 499."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        if not self._loop.is_closed():
            for descriptor in self._descriptors:
                self._loop.remove_reader(descriptor)
            if self._alarm:
                self._alarm.cancel()
            for inbox in self._connection.in_flight.waiters():
                inbox.put_nowait(
                    error_of(status.CANCELLED, "the client was closed while this waited")
                )
        self._connection.close()

    def let_go(self) -> None:
        """Close it when its client is no more: from any thread, in the middle of anything."""
        try:
            self._loop.call_soon_threadsafe(self.close)
        except RuntimeError:  # the loop is closed
            self.close()

    # --- the loop's

    def _turn(self) -> None:
        self._turn_due = False
        if self._closed:
            return
        for delivery in self._connection.turn(self._clock()):
            delivery.waiter.put_nowait(delivery.heard)
        if self._connection.has_more():
            self._soon()
        self._set_alarm(self._connection.wake_at())

    def _soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _set_alarm(self, when: float) -> None:
        if when == self._alarm_at:
            return
        self._alarm_at = when
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if when < float("inf"):
            self._alarm = self._loop.call_later(max(0.0, when - self._clock()), self._ring)

    def _ring(self) -> None:
        self._alarm_at = float("inf")  # perhaps a moment early: then it is set again
        self._turn()

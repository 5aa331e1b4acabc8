"""A connection for threads: one more thread owns it, and the others leave word and wait.

So a thousand threads need no more than one connection, and nobody's slow `on_line` is in anybody's
way: each caller reads from its own queue, in its own thread. Nobody waits
for this thread any longer than for its own deadline.
"""

import itertools
import os
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from math import ceil
from queue import Empty, SimpleQueue

import zmq

from pipeline_client._plans.steps import Exchange
from pipeline_client._transport.connection import Connection
from pipeline_client._transport.inflight import Heard
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import status

Inbox = SimpleQueue[Heard]


class ThreadTransport:
    """Of use only in the process that made it."""

    def __init__(self, connection: Connection[Inbox]) -> None:
        self.pid = os.getpid()
        self.over = False
        """Whether the thread has ended, or is about to: nothing will be heard any more."""
        self._connection = connection
        self._numbers = itertools.count()
        self._orders: deque[tuple[bytes, Exchange | None, Inbox]] = deque()
        """What is begun, or with None given up, in that order."""
        self._closing = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._thread = threading.Thread(target=self._serve, name="pipeline client", daemon=True)
        self._thread.start()

    # --- for any thread

    def perform(self, exchange: Exchange) -> bytes:
        """Return the final reply; lines on the way go to `on_line`."""
        number = next(self._numbers).to_bytes(8, "big")
        inbox: Inbox = SimpleQueue()
        try:
            self._say(number, exchange, inbox)
            while True:
                if self.over and inbox.empty():
                    raise self._ended()
                heard = self._wait(inbox, exchange)
                if isinstance(heard, bytes):
                    return heard
                if isinstance(heard, PipelineError):
                    raise heard
                if exchange.on_line:
                    for line in heard:
                        exchange.on_line(line)
        except BaseException:
            self._say(number, None, inbox)
            raise

    def close(self) -> None:
        """Have the thread end; what waits ends with 499."""
        if self.pid == os.getpid():
            self._closing = True
            self._ring()

    def join(self, seconds: float) -> None:
        """Wait for that end, unless it is this thread's own."""
        if self.pid == os.getpid() and threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def _wait(self, inbox: Inbox, exchange: Exchange) -> Heard:
        try:
            return inbox.get(timeout=max(0.0, exchange.deadline - time.monotonic()))
        except Empty:
            why = self._connection.explained(exchange.too_late)
            raise error_of(status.CLIENT_TIMED_OUT, why) from None

    def _say(self, number: bytes, exchange: Exchange | None, inbox: Inbox) -> None:
        self._orders.append((number, exchange, inbox))
        self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # full of rings already, or closed
            self._wake_writer.send(b"\0")

    # --- the thread

    def _serve(self) -> None:
        try:
            self._loop()
        finally:
            self.over = True
            self._take_words()
            for inbox in self._connection.in_flight.waiters():
                inbox.put(self._ended())
            self._connection.close()
            self._wake_reader.close()
            self._wake_writer.close()

    def _ended(self) -> PipelineError:
        if self._closing:
            return error_of(status.CANCELLED, "the client was closed while this waited")
        return error_of(status.CANCELLED, "the client's own thread failed: its traceback says why")

    def _loop(self) -> None:
        dealer, monitor = self._connection.sockets
        in_flight = self._connection.in_flight
        poller = zmq.Poller()
        poller.register(monitor, zmq.POLLIN)
        poller.register(self._wake_reader, zmq.POLLIN)
        while not self._closing:
            poller.register(dealer, zmq.POLLIN | (zmq.POLLOUT if in_flight.next_to_send() else 0))
            wait_s = min(self._connection.wake_at() - time.monotonic(), 3600.0)
            ready = dict(poller.poll(max(0, ceil(wait_s * 1000))))
            if self._wake_reader.fileno() in ready:
                self._take_words()
            for delivery in self._connection.turn(time.monotonic()):
                delivery.waiter.put(delivery.heard)

    def _take_words(self) -> None:
        with suppress(OSError):
            self._wake_reader.recv(1 << 16)
        in_flight = self._connection.in_flight
        while self._orders:
            number, exchange, inbox = self._orders.popleft()
            if exchange:
                in_flight.begin(number, exchange, inbox)
            else:
                in_flight.forget(number)

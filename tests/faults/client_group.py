"""Clients, as many as a test needs: each sends a request, waits, and sends it again on a time-out.

They do what the protocol tells a client to do, and nothing more: no retry of a 503, no second try
of a 510. The same bytes go out again over a new connection, the one before is closed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path

import zmq
from faults.history import Asked, History, await_answers
from support.keyring import show_key

from pipeline_protocol.codec import decode_progress

_TURN_MS = 10
_FENCE = b"fence"
_PING = b'{"action": "ping"}'


class _Seat:
    """One client: a socket, and the request that it waits for."""

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self.socket = socket
        self.waits_for: Asked | None = None
        self.resend_at = float("inf")


class ClientGroup:
    """Clients on one thread of their own; at most `seats` requests are in flight at a time."""

    def __init__(
        self,
        address: str,
        history: History,
        *,
        seats: int = 64,
        resend_after_s: float = float("inf"),
        enter: Callable[[], None] = lambda: None,
        keys: Path | None = None,
    ) -> None:
        """`enter` is called by the thread before its first socket: into a network, say."""
        self.history = history
        self._address = address
        self._seats = seats
        self._resend_after_s = resend_after_s
        self._enter = enter
        self._keys = keys
        self._asked: list[Asked] = []
        self._waiting: deque[Asked] = deque()
        self._closing = threading.Event()
        self._fence_asked = threading.Event()
        self._fenced = threading.Event()
        self._taken: dict[zmq.Socket[bytes], _Seat] = {}
        self._free: list[_Seat] = []
        self._sendings: dict[bytes, Asked] = {}
        self._counter = count()
        self._thread = threading.Thread(target=self._run, name="group", daemon=True)
        self._thread.start()

    def ask(self, *requests: Asked) -> None:
        """Send requests, as soon as there are seats."""
        added = [self.history.add(asked) for asked in requests]
        self._asked += added
        self._waiting += added

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until everything that this group was asked is answered; others may go on asking."""
        await_answers(self._asked, seconds, self._thread.is_alive)

    def settle(self, seconds: float = 20.0) -> None:
        """Wait until whatever the router may yet have said to anybody is heard."""
        self._fence_asked.set()
        assert self._fenced.wait(seconds), "the router does not answer every client's ping"

    def close(self) -> None:
        self._closing.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    # --- the thread

    def _run(self) -> None:
        self._enter()
        with zmq.Context() as context:
            context.set(zmq.MAX_SOCKETS, 4 * self._seats + 64)
            self._poller = zmq.Poller()
            try:
                self._serve(context)
            finally:
                for seat in [*self._taken.values(), *self._free]:
                    seat.socket.close()

    def _serve(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        fences: set[zmq.Socket[bytes]] | None = None
        while not self._closing.is_set():
            while self._waiting and (self._free or len(self._taken) < self._seats):
                self._send(context, self._waiting.popleft())
            for socket, _ in self._poller.poll(_TURN_MS):
                self._hear(socket, fences)
            self._resend(context)
            if fences is None and self._fence_asked.is_set():
                fences = {seat.socket for seat in (*self._taken.values(), *self._free)}
                for socket in fences:
                    socket.send_multipart([_FENCE, b"", _PING])
            if fences is not None and not fences:
                self._fenced.set()

    def _send(self, context: "zmq.Context[zmq.Socket[bytes]]", asked: Asked) -> None:
        seat = self._free.pop() if self._free else _Seat(self._connect(context))
        self._taken[seat.socket] = seat
        seat.waits_for = asked
        self._say(seat, asked)

    def _say(self, seat: _Seat, asked: Asked) -> None:
        sending = next(self._counter).to_bytes(8, "big")
        self._sendings[sending] = asked
        now = time.monotonic()
        asked.sent.append(now)
        seat.resend_at = now + self._resend_after_s
        seat.socket.send_multipart([sending, b"", asked.body])

    def _resend(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        now = time.monotonic()
        for seat in [seat for seat in self._taken.values() if seat.resend_at <= now]:
            del self._taken[seat.socket]
            self._poller.unregister(seat.socket)
            seat.socket.close()
            seat.socket = self._connect(context)
            self._taken[seat.socket] = seat
            assert seat.waits_for is not None
            self._say(seat, seat.waits_for)

    def _hear(self, socket: "zmq.Socket[bytes]", fences: "set[zmq.Socket[bytes]] | None") -> None:
        sending, _, body = socket.recv_multipart()
        if sending == _FENCE:
            assert fences is not None
            fences.discard(socket)
            return
        if decode_progress(body) is not None:
            return
        asked = self._sendings[sending]
        asked.heard.append((time.monotonic(), body))
        seat = self._taken.get(socket)
        if seat is not None and seat.waits_for is asked:
            seat.waits_for = None
            self._free.append(self._taken.pop(socket))

    def _connect(self, context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.reconnect_ivl = 100
        show_key(socket, self._keys)
        socket.connect(self._address)
        self._poller.register(socket, zmq.POLLIN)
        return socket

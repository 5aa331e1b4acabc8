"""Sockets to one router, each lent to one call at a time.

A ZeroMQ socket must not be used by two threads at once, but may be handed from one to another
under a lock. So a call takes a socket (an idle one, or a new one) and has it to itself: no thread
between the caller and the wire, nothing to wake, nothing left running when a caller is
interrupted. The price is a connection for each call under way at the same time.
"""

import os
import threading

import zmq

_MAX_IDLE = 16
"""A burst of calls need not leave its connections behind."""
_MAX_SOCKETS = 16_384
"""ZeroMQ's own 1023 would end sooner than file descriptors do."""


class Connections:
    """A ZeroMQ context and its sockets; of use only in the process that made it."""

    def __init__(self, endpoint: str, *, ipv6: bool) -> None:
        self.pid = os.getpid()
        self._endpoint = endpoint
        self._ipv6 = ipv6
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
        self._lock = threading.Lock()
        self._idle: list[zmq.Socket[bytes]] = []
        self._lent = 0
        self.closed = False

    def take(self) -> "zmq.Socket[bytes] | None":
        """Lend a socket; None if closed. Every one lent is to be given back."""
        with self._lock:
            if self.closed:
                return None
            socket = self._idle.pop() if self._idle else self._connected()
            self._lent += 1
            return socket

    def give_back(self, socket: "zmq.Socket[bytes]", *, sound: bool) -> None:
        """Take a socket back; one whose call heard no answer is not used again."""
        with self._lock:
            self._lent -= 1
            if sound and not self.closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(socket)
            else:
                socket.close()
            self._end_if_unused()

    def renew(self, socket: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
        """Close a lent socket, with all that it may yet send or hear; lend a new one for it."""
        socket.close()
        with self._lock:
            return self._connected()

    def close(self) -> None:
        """Close what is idle, lend no more; what is lent is closed when it is given back."""
        with self._lock:
            self.closed = True
            while self._idle:
                self._idle.pop().close()
            self._end_if_unused()

    def _end_if_unused(self) -> None:
        # Ending a context waits for its sockets: with none left it does not.
        if self.closed and not self._lent:
            self._context.term()

    def _connected(self) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, self._ipv6)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)  # ms
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2_000)
        # an idle connection whose other end went away without a word is noticed, and made anew
        socket.setsockopt(zmq.HEARTBEAT_IVL, 5_000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
        socket.connect(self._endpoint)
        return socket

"""Sockets to one router, each lent to one call at a time.

A ZeroMQ socket must not be used by two threads at once, but may be handed from one to another
under a lock. So a call takes a socket (an idle one, or a new one) and has it to itself: no thread
between the caller and the wire, nothing to wake, nothing left running when a caller is
interrupted. The price is a connection for each call under way at the same time.

The ZeroMQ context is the process' own and is never ended: to end one waits for every socket of
it, and an interrupt in the wrong moment leaves a socket that nobody can close.
"""

import os
import threading

import zmq

_MAX_IDLE = 16
"""A burst of calls need not leave its connections behind."""
_MAX_SOCKETS = 16_384
"""ZeroMQ's own 1023 would end sooner than file descriptors do."""

_contexts: dict[int, "zmq.Context[zmq.Socket[bytes]]"] = {}
"""By process: in a fork's child the parent's is neither used nor let go of."""


def _own_context() -> "zmq.Context[zmq.Socket[bytes]]":
    pid = os.getpid()
    if pid not in _contexts:
        context = zmq.Context()
        context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
        return _contexts.setdefault(pid, context)
    return _contexts[pid]


class Connections:
    """Of use only in the process that made them."""

    def __init__(self, endpoint: str, *, ipv6: bool) -> None:
        self.pid = os.getpid()
        self.closed = False
        self._endpoint = endpoint
        self._ipv6 = ipv6
        self._lock = threading.Lock()
        self._idle: list[zmq.Socket[bytes]] = []

    def take(self) -> "zmq.Socket[bytes]":
        """Lend a socket; it is to be given back."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connected()

    def give_back(self, socket: "zmq.Socket[bytes]", *, sound: bool) -> None:
        """Take a socket back; one whose call heard no answer is not used again."""
        with self._lock:
            if sound and not self.closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(socket)
                return
        socket.close()

    def renew(self, socket: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
        """Close a lent socket, with all that it may yet send or hear; lend a new one for it."""
        socket.close()
        return self._connected()

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it is given back."""
        with self._lock:
            self.closed = True
            while self._idle:
                self._idle.pop().close()

    def _connected(self) -> "zmq.Socket[bytes]":
        socket = _own_context().socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, self._ipv6)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)  # ms
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2_000)
        # an idle connection whose other end went away without a word is noticed, and made anew
        socket.setsockopt(zmq.HEARTBEAT_IVL, 5_000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
        socket.connect(self._endpoint)
        return socket

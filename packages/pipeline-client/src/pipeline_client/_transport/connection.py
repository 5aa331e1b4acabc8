"""The one socket of a client: frames in and out, whether it is connected, never a wait.

ZeroMQ connects, and again when the other end is gone, 0.1 to 2 s later, at random: a restarted
router is not met by everybody at once. It tells so on a second socket, the monitor. An end that
went away without a word is found out within two or three times `resend_after_s`: by heartbeats when
nothing is said, by TCP when what is said is not acknowledged.

With keys it is all encrypted, and the monitor tells why a connection does not come about. ZeroMQ
then never tries again, or for ever with the same key of the router: so it is connected anew here.

The ZeroMQ context is the process' own and is never ended: to end one waits for every socket of
it, and an interrupt in the wrong moment leaves a socket that nobody can close.
"""

import os
import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

import zmq
from msgspec import structs

from pipeline_client._plans.options import ClientOptions
from pipeline_client._transport.inflight import Delivery, InFlight
from pipeline_protocol.handshakes import HandshakeFailure, Handshakes
from pipeline_protocol.keys import BadKeys, in_bytes

W = TypeVar("W")

_A_TURN = 300
"""Messages read before whatever else there is to do has its turn."""
_NOW = zmq.DONTWAIT
_MADE = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_LOST = int(zmq.EVENT_DISCONNECTED)
_FAILURES = {
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): HandshakeFailure.KEY_REFUSED,
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): HandshakeFailure.OTHER,
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): HandshakeFailure.HUNG_UP,
}
_MECHANISM = 0x11000002
"""ZeroMQ's own number of two mechanisms that are not the same."""
_HEARD = sum(_FAILURES, _MADE | _LOST)
_HANDSHAKE_MS = 20_000
"""With keys: a router to which thousands come back may take so long over one."""
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


class Connection(Generic[W]):
    """To be used by one thread at a time, of the process that made it."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._endpoint = options.router.endpoint()
        keys = options.keys
        if keys and not zmq.has("curve"):
            raise BadKeys("keys need CURVE, and this pyzmq is built without it: install its wheel")
        self.handshakes = Handshakes(
            str(options.router), keys.routers if keys else (), keys.name if keys else ""
        )
        self.is_made = False
        """Whether there is a connection."""
        self._connect_at = float("inf")
        self.in_flight = InFlight[W](options.resend_after_s, options.chance)
        silence_ms = max(1, int(options.resend_after_s * 1000))
        self._socket = socket = _own_context().socket(zmq.DEALER)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.IPV6, ":" in options.router.host)
        socket.set(zmq.IMMEDIATE, 1)  # what a lost connection did not take is sent again by us
        socket.set(zmq.RECONNECT_IVL, 100)
        socket.set(zmq.RECONNECT_IVL_MAX, 2_000)
        socket.set(zmq.HANDSHAKE_IVL, max(_HANDSHAKE_MS if keys else 1_000, silence_ms))
        socket.set(zmq.CONNECT_TIMEOUT, max(1_000, silence_ms))
        socket.set(zmq.TCP_MAXRT, max(1_000, silence_ms))
        socket.set(zmq.HEARTBEAT_IVL, max(1_000, silence_ms))
        socket.set(zmq.HEARTBEAT_TIMEOUT, max(2_000, 2 * silence_ms))
        self._monitor = socket.get_monitor_socket(_HEARD)
        self._connect()
        self.sockets = (self._socket, self._monitor)
        """What to wait for, while there is nothing to do."""

    def turn(self, now: float) -> Iterator[Delivery[W]]:
        """Do what can be done without a wait; what was heard is to be handed on."""
        self._look(now)
        if now >= self._connect_at:
            self._connect_at = float("inf")
            self._read_keys_again()
            self._connect()
        for _ in range(_A_TURN):
            try:
                frames = self._socket.recv_multipart(_NOW)
            except zmq.Again:
                break
            delivery = self.in_flight.hear(frames, now)
            if delivery:
                yield delivery
        self.in_flight.wake(now)
        self._send(now)

    def has_more(self) -> bool:
        """Return whether there is more to do at once; it has to be asked after each turn."""
        wanted = zmq.POLLIN
        if self.in_flight.next_to_send():
            wanted |= zmq.POLLOUT
        return bool(int(self._socket.get(zmq.EVENTS)) & wanted)

    def wake_at(self) -> float:
        """Return when the next turn is due, if nothing comes before."""
        return min(self.in_flight.wake_at(), self._connect_at)

    def explained(self, too_late: str) -> str:
        """Say why there was no answer, by what is known of the connection."""
        trouble = self.handshakes.trouble
        return f"{trouble}. {too_late}" if trouble else too_late

    def close(self) -> None:
        """Let go of the connection, with all that it may yet send or hear."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)

    def _connect(self) -> None:
        keys = self._options.keys
        if keys:
            self._socket.set(zmq.CURVE_PUBLICKEY, in_bytes(keys.public))
            self._socket.set(zmq.CURVE_SECRETKEY, in_bytes(keys.secret))
            self._socket.set(zmq.CURVE_SERVERKEY, in_bytes(self.handshakes.router))
        self._socket.connect(self._endpoint)

    def _read_keys_again(self) -> None:
        """Take in what has been done about a trouble."""
        keys = self._options.keys_again() if self.handshakes.trouble else None
        if keys:
            self._options = structs.replace(self._options, keys=keys)
            self.handshakes.learn(keys.routers)

    def _failed(self, failure: HandshakeFailure, now: float) -> None:
        if self._connect_at < float("inf"):
            return  # of an attempt before
        pause_s = self.handshakes.failed(failure, self._options.chance())
        if failure is HandshakeFailure.HUNG_UP and not self._options.keys:
            return  # ZeroMQ tries again
        self._socket.disconnect(self._endpoint)
        self._connect_at = now + pause_s

    def _look(self, now: float) -> None:
        while True:
            try:
                event, _endpoint = self._monitor.recv_multipart(_NOW)
            except zmq.Again:
                return
            kind, detail = struct.unpack_from("=HI", event)
            if kind == _MADE:
                self.is_made = True
                self.handshakes.made()
                self.in_flight.connect()
            elif kind == _LOST:
                self.is_made = False
                self.in_flight.disconnect()
            elif kind in _FAILURES:
                mechanism = detail == _MECHANISM
                self._failed(HandshakeFailure.MECHANISM if mechanism else _FAILURES[kind], now)

    def _send(self, now: float) -> None:
        while frames := self.in_flight.next_to_send():
            try:
                self._socket.send_multipart(frames, _NOW)
            except zmq.Again:
                return  # its queue is full, or the connection is gone again
            self.in_flight.sent(now)

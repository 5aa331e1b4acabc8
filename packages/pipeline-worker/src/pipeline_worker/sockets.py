"""The worker's two ZeroMQ sockets: one question to the front end, then the link."""

import logging
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import zmq

from pipeline_protocol import status
from pipeline_protocol.address import WorkerAddress
from pipeline_protocol.codec import (
    BadMessage,
    decode_reply,
    decode_to_worker,
    encode_json,
    encode_link,
)
from pipeline_protocol.handshakes import HandshakeFailure, Handshakes
from pipeline_protocol.keys import BadKeys, MemberKeys, in_bytes
from pipeline_protocol.link import MAX_LINK_BYTES, PROTOCOL, FromWorker
from pipeline_protocol.requests import ConfigureWorker
from pipeline_protocol.responses import LinkAddress
from pipeline_worker.events import BootstrapRefused, HandshakeFailed, LinkFound, Received

_log = logging.getLogger(__name__)

_HEARTBEAT_MS = 1000
_DEAD_HOST_MS = 5000
_HANDSHAKE_MS = 20_000
"""A router to which a thousand workers come back may take so long over one."""
_MADE = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_FAILURES = {
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): HandshakeFailure.KEY_REFUSED,
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): HandshakeFailure.OTHER,
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): HandshakeFailure.HUNG_UP,
}
_MECHANISM = 0x11000002
"""ZeroMQ's own number of two mechanisms that are not the same."""
_TURN = 200
"""Messages taken from a socket before anything else gets a turn."""


class RouterSockets:
    """Turns frames into events, and messages into frames. For one thread."""

    def __init__(
        self, address: WorkerAddress, read_keys: Callable[[], MemberKeys] | None = None
    ) -> None:
        """Without `read_keys` nothing is encrypted, and no key is shown; it may raise BadKeys."""
        self._address = address
        self._read_keys = read_keys
        self._keys = read_keys() if read_keys else None
        keys = self._keys
        self._handshakes = Handshakes(
            str(address.router), keys.routers if keys else (), keys.name if keys else ""
        )
        self._monitors: dict[zmq.Socket[bytes], zmq.Socket[bytes]] = {}
        """By the socket that each tells of."""
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._front: zmq.Socket[bytes] | None = None
        self._link: zmq.Socket[bytes] | None = None
        question = ConfigureWorker(
            channel=address.channel, topics=address.topics, protocol=PROTOCOL
        )
        self._question = [b"", encode_json(question)]

    def register(self, descriptor: int) -> None:
        """Have `wait` wake up for that descriptor too."""
        self._poller.register(descriptor, zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        """Sleep until something can be read, or until the time is over."""
        self._poller.poll(max(0, int(seconds * 1000)))

    def ask(self) -> None:
        """Put the first question to the front end, on a new socket: an old one may be stuck."""
        self._front = self._open(self._front, self._address.router.endpoint())
        with suppress(zmq.Again):  # the connection has failed already: its monitor tells why
            self._front.send_multipart(self._question, zmq.NOBLOCK)

    def connect(self, port: int) -> None:
        """Open the link, closing the one before."""
        self._close(self._front)
        self._front = None
        self._link = self._open(self._link, self._address.router.endpoint(port))

    def send(self, message: FromWorker, body: bytes) -> None:
        """Send over the link; a router that takes nothing for long loses messages, not jobs."""
        if self._link is None:
            return
        frames = [encode_link(message), body] if body else [encode_link(message)]
        try:
            self._link.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            _log.warning("the link is full: a %s is dropped", type(message).__name__)

    def events(self) -> Iterator[LinkFound | BootstrapRefused | HandshakeFailed | Received]:
        """Read what has come; handling one may replace the sockets."""
        for socket in list(self._monitors):
            failed = self._look(socket) if socket in self._monitors else None
            if failed is not None:
                self._give_up(socket)
                yield failed
        if self._front is not None:
            answers = list(_drain(self._front))
            if answers:  # one question, one connection
                self._close(self._front)
                self._front = None
            for frames in answers:
                yield _first_answer(frames)
        if self._link is not None:
            for frames in list(_drain(self._link)):
                try:
                    body = frames[1] if len(frames) == 2 else b""
                    yield Received(decode_to_worker(frames[0]), body)
                except BadMessage as error:
                    _log.warning("%s", error)

    def close(self, linger_s: float = 0.0) -> None:
        """Close both sockets; what is being sent gets `linger_s` to leave."""
        for socket in (self._front, self._link):
            if socket is not None:
                self._forget(socket)
                socket.close(linger=int(linger_s * 1000))
        self._context.term()

    def _open(self, former: "zmq.Socket[bytes] | None", endpoint: str) -> "zmq.Socket[bytes]":
        self._close(former)
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.maxmsgsize = MAX_LINK_BYTES
        socket.reconnect_ivl = 100
        socket.reconnect_ivl_max = 1000
        socket.heartbeat_ivl = _HEARTBEAT_MS
        socket.heartbeat_timeout = _DEAD_HOST_MS
        socket.setsockopt(zmq.IPV6, 1 if "[" in endpoint else 0)
        self._lock(socket)
        monitor = self._monitors[socket] = socket.get_monitor_socket(sum(_FAILURES, _MADE))
        self._poller.register(monitor, zmq.POLLIN)
        socket.connect(endpoint)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _lock(self, socket: "zmq.Socket[bytes]") -> None:
        """Have a socket show its key, and expect one of the router's."""
        if self._handshakes.trouble and self._read_keys is not None:
            try:  # perhaps that is mended by now
                self._keys = self._read_keys()
                self._handshakes.learn(self._keys.routers)
            except BadKeys as error:
                _log.warning("keys not read again: %s", error)
        if self._keys is not None:
            socket.set(zmq.CURVE_PUBLICKEY, in_bytes(self._keys.public))
            socket.set(zmq.CURVE_SECRETKEY, in_bytes(self._keys.secret))
            socket.set(zmq.CURVE_SERVERKEY, in_bytes(self._handshakes.router))
            socket.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)

    def _look(self, socket: "zmq.Socket[bytes]") -> HandshakeFailed | None:
        """Take in how a socket's attempts to connect have ended."""
        while True:
            try:
                event, _ = self._monitors[socket].recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            kind, detail = struct.unpack_from("=HI", event)
            if kind == _MADE:
                self._handshakes.made()
            elif kind in _FAILURES:
                why = _FAILURES[kind]
                if detail == _MECHANISM:
                    why = HandshakeFailure.MECHANISM
                again_s = self._handshakes.failed(why, random.random())  # noqa: S311
                if why is not HandshakeFailure.HUNG_UP or self._keys is not None:
                    return HandshakeFailed(again_s, self._handshakes.trouble)
                if self._handshakes.trouble:  # without keys ZeroMQ tries again by itself
                    return HandshakeFailed(again_s, self._handshakes.trouble)

    def _close(self, socket: "zmq.Socket[bytes] | None") -> None:
        if socket is not None:
            self._forget(socket)
            self._poller.unregister(socket)
            socket.close(linger=0)

    def _give_up(self, socket: "zmq.Socket[bytes]") -> None:
        """Close a socket that would never try again, or for ever in vain."""
        self._close(socket)
        self._front = None if socket is self._front else self._front
        self._link = None if socket is self._link else self._link

    def _forget(self, socket: "zmq.Socket[bytes]") -> None:
        monitor = self._monitors.pop(socket)
        self._poller.unregister(monitor)
        socket.disable_monitor()
        monitor.close(linger=0)


def _drain(socket: "zmq.Socket[bytes]") -> Iterator[list[bytes]]:
    for _ in range(_TURN):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


def _first_answer(frames: list[bytes]) -> LinkFound | BootstrapRefused:
    try:
        reply = decode_reply(frames[-1])
        if reply.status.code != status.OK:
            error = reply.status.error or reply.status.message
            return BootstrapRefused(f"the router refuses this worker: {error}")
        link: LinkAddress = msgspec.json.decode(_raw(reply.response), type=LinkAddress)
    except (BadMessage, msgspec.DecodeError) as error:
        return BootstrapRefused(f"what answers there is not a pipeline router: {error}")
    return LinkFound(link.link_port, link.warnings, link.protocol)


def _raw(response: Any) -> bytes:
    return bytes(response) if isinstance(response, msgspec.Raw) else b"null"

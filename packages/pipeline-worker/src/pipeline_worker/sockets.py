"""The worker's two ZeroMQ sockets: one question to the front end, then the link."""

import logging
from collections.abc import Iterator
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
from pipeline_protocol.link import MAX_LINK_BYTES, PROTOCOL, FromWorker
from pipeline_protocol.requests import ConfigureWorker
from pipeline_protocol.responses import LinkAddress
from pipeline_worker.events import BootstrapRefused, LinkFound, Received

_log = logging.getLogger(__name__)

_HEARTBEAT_MS = 1000
_DEAD_HOST_MS = 5000
_TURN = 200
"""Messages taken from a socket before anything else gets a turn."""


class RouterSockets:
    """Turns frames into events, and messages into frames. For one thread."""

    def __init__(self, address: WorkerAddress) -> None:
        self._address = address
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

    def events(self) -> Iterator[LinkFound | BootstrapRefused | Received]:
        """Read what has come; handling one may replace the sockets."""
        if self._front is not None:
            for frames in list(_drain(self._front)):
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
        socket.connect(endpoint)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _close(self, socket: "zmq.Socket[bytes] | None") -> None:
        if socket is not None:
            self._poller.unregister(socket)
            socket.close(linger=0)


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

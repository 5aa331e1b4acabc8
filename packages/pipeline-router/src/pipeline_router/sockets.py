"""The two listening sockets: frames in, events out; whatever comes, nobody else is disturbed.

Frames are read one by one, and a body is handed on as it came.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import zmq
import zmq.backend

from pipeline_protocol import status
from pipeline_protocol.codec import (
    MAX_REQUEST_BYTES,
    BadMessage,
    BadRequest,
    OtherProtocol,
    decode_from_worker,
    decode_request,
    refusal,
)
from pipeline_protocol.link import MAX_LINK_BYTES, Progress, Result
from pipeline_router.events import Envelope, Requested, WorkerGarbled, WorkerSaid

MAX_ENVELOPE_FRAMES = 8
MAX_ENVELOPE_FRAME_BYTES = 255
BACKLOG = 4096
PIPE_MESSAGES = 10_000
"""That wait for a peer that does not read; a client's later replies are dropped."""
ZERO_COPY_BYTES = 100_000
"""From this size on, a frame is cheaper to lend to libzmq than to copy."""

# as numbers: to combine pyzmq's own flags costs more than to send a frame
_MORE = int(zmq.SNDMORE)
_NOW = int(zmq.DONTWAIT)
_MORE_NOW = _MORE | _NOW


class PeerSocket:
    """A bound ROUTER socket, and its frames."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], max_frame_bytes: int) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.set(zmq.ROUTER_MANDATORY, 1)
        self.socket.set(zmq.MAXMSGSIZE, max_frame_bytes)
        self.socket.set(zmq.BACKLOG, BACKLOG)
        self.socket.set(zmq.HANDSHAKE_IVL, 10_000)
        self.socket.set(zmq.HEARTBEAT_IVL, 5_000)
        self.socket.set(zmq.HEARTBEAT_TIMEOUT, 15_000)
        self.socket.set(zmq.SNDHWM, PIPE_MESSAGES)
        self.socket.set(zmq.LINGER, 0)
        # the backend's methods: pyzmq's own add a third to the cost of a frame
        self._send = partial(zmq.backend.Socket.send, self.socket)
        self._receive_peer = partial(zmq.backend.Socket.recv, self.socket, _NOW)
        # a frame that is not copied knows, cheaper than the socket, whether more follow
        self._receive = cast(
            "Callable[[], zmq.Frame]",
            partial(zmq.backend.Socket.recv, self.socket, 0, False),
        )

    def bind(self, host: str, port: int) -> str:
        """Listen; return the address, with the port that was free if `port` was 0."""
        if ":" in host:
            self.socket.set(zmq.IPV6, 1)
            host = f"[{host}]"
        self.socket.bind(f"tcp://{host}:{port or '*'}")
        endpoint = self.socket.get(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)  # noqa: S101 # pyzmq types all options alike
        return endpoint.decode()

    def close(self, linger_ms: int = 0) -> None:
        """Stop listening; what was sent may take so long to leave."""
        self.socket.close(linger_ms)

    def _skip_after(self, frame: zmq.Frame) -> None:
        while frame.more:
            frame = self._receive()

    def _say(self, peer: bytes, before: Sequence[bytes], last: bytes) -> bool:
        """Send a peer a message, its last frame apart; False if it is gone, or does not read."""
        send = self._send
        try:
            send(peer, _MORE_NOW)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        for frame in before:
            send(frame, _MORE)
        send(last, 0, len(last) < ZERO_COPY_BYTES)
        return True


class FrontEnd(PeerSocket):
    """Where clients ask."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        # larger frames end the connection; those between are told what was wrong
        super().__init__(context, 4 * MAX_REQUEST_BYTES)

    def requests(self, limit: int) -> Iterator[Requested]:
        """Read what has come, up to a number of messages; refuse what cannot be read."""
        for _ in range(limit):
            try:
                peer = self._receive_peer()
            except zmq.Again:
                return
            request = self._read(peer)
            if request is not None:
                yield request

    def answer(self, envelope: Envelope, body: bytes) -> None:
        """Send a reply back the way its request came; one whose client has gone is dropped."""
        peer, *others = envelope
        others.append(b"")
        self._say(peer, others, body)

    def _read(self, peer: bytes) -> Requested | None:
        receive = self._receive
        envelope = [peer]
        frame = receive()
        while (part := frame.bytes) and frame.more:
            envelope.append(part)
            if len(part) > MAX_ENVELOPE_FRAME_BYTES or len(envelope) > MAX_ENVELOPE_FRAMES + 1:
                self._skip_after(frame)
                return None
            frame = receive()
        if not frame.more:
            missing = "an empty frame before the JSON" if part else "a JSON frame"
            self._refuse(envelope, f"{missing} is missing")
            return None
        frame = receive()
        if frame.more:
            self._skip_after(frame)
            self._refuse(envelope, "there are frames after the JSON")
            return None
        body = frame.bytes
        if len(body) > MAX_REQUEST_BYTES:
            self._refuse(envelope, f"the request is larger than {MAX_REQUEST_BYTES} bytes")
            return None
        try:
            return Requested(tuple(envelope), decode_request(body), body)
        except BadRequest as error:
            self._refuse(envelope, str(error), error.code)
            return None

    def _refuse(self, envelope: list[bytes], error: str, code: int = status.MALFORMED) -> None:
        self.answer(tuple(envelope), refusal(code, error))


class WorkerLink(PeerSocket):
    """Where workers serve."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        super().__init__(context, MAX_LINK_BYTES)

    def messages(self, limit: int) -> Iterator[WorkerSaid | WorkerGarbled]:
        """Read what has come, up to a number of messages."""
        receive_peer, receive = self._receive_peer, self._receive
        for _ in range(limit):
            try:
                peer = receive_peer()
            except zmq.Again:
                return
            header = receive()
            body = receive() if header.more else None
            if body is not None and body.more:
                self._skip_after(body)
                yield WorkerGarbled(peer, "a message has a header, and one body at most")
                continue
            try:
                message = decode_from_worker(header.bytes)
            except OtherProtocol as error:
                yield WorkerGarbled(peer, str(error), error.identity)
                continue
            except BadMessage as error:
                yield WorkerGarbled(peer, str(error))
                continue
            if (body is not None) is not (type(message) in _WITH_BODY):
                yield WorkerGarbled(peer, "a body is for results and progress, and needed there")
                continue
            yield WorkerSaid(peer, message, body.bytes if body is not None else b"")

    def tell(self, peer: bytes, header: bytes, body: bytes | None = None) -> bool:
        """Send a message to a worker; False if it is not there, or does not read."""
        return self._say(peer, (), header) if body is None else self._say(peer, (header,), body)


_WITH_BODY = frozenset({Result, Progress})

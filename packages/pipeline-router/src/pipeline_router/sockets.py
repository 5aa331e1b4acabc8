"""The two listening sockets: frames in, events out; whatever comes, nobody else is disturbed.

Frames are read one by one, and a body is handed on as it came.
"""

from collections.abc import Iterator

import zmq

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
from pipeline_protocol.requests import Role
from pipeline_router.events import Envelope, Requested, WorkerGarbled, WorkerSaid
from pipeline_router.peer_socket import MORE, PeerSocket, is_named

MAX_ENVELOPE_FRAMES = 8
MAX_ENVELOPE_FRAME_BYTES = 255
NAMED = "with keys a connection gives itself no routing id: leave it to ZeroMQ"
ZERO_COPY_BYTES = 100_000
"""From this size on, a frame is cheaper to lend to libzmq than to copy."""


class FrontEnd(PeerSocket):
    """Where clients ask."""

    kind = "clients"

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
        account = self._begin(envelope[0])
        if account is None:
            return
        send, size = self._send, len(body)
        for frame in envelope[1:]:
            send(frame, MORE)
        send(b"", MORE)
        send(body, 0, size < ZERO_COPY_BYTES)
        account.sent += size

    def _read(self, peer: bytes) -> Requested | None:
        receive, before = self._receive, self._before_frame
        frame = receive()
        account = self._known.get(peer) or self._account(peer, frame)
        sender = None
        if self._principals is not None:
            sender = self._sender(frame, account)
            if sender is None or is_named(peer):
                self._skip_after(frame, account)
                if sender is not None:
                    self._refuse([account.handle], NAMED)
                return None
        envelope = [account.handle]
        while (part := frame.bytes) and frame.more:
            size = len(part)
            account.read += size + before
            envelope.append(part)
            if size > MAX_ENVELOPE_FRAME_BYTES or len(envelope) > MAX_ENVELOPE_FRAMES + 1:
                self._skip_after(frame, account)
                return None
            frame = receive()
        if not frame.more:
            account.read += len(part) + before
            missing = "an empty frame before the JSON" if part else "a JSON frame"
            self._refuse(envelope, f"{missing} is missing")
            return None
        frame = receive()
        body = frame.bytes
        size = len(body)
        account.read += size + 2 * before
        if frame.more:
            self._skip_after(frame, account)
            self._refuse(envelope, "there are frames after the JSON")
            return None
        if size > MAX_REQUEST_BYTES:
            self._refuse(envelope, f"the request is larger than {MAX_REQUEST_BYTES} bytes")
            return None
        try:
            return Requested(tuple(envelope), decode_request(body), body, sender)
        except BadRequest as error:
            self._refuse(envelope, str(error), error.code)
            return None

    def _refuse(self, envelope: list[bytes], error: str, code: int = status.MALFORMED) -> None:
        self.refused.count(code, self.kind, error)
        self.answer(tuple(envelope), refusal(code, error))


class WorkerLink(PeerSocket):
    """Where workers serve."""

    kind = "workers"
    roles = frozenset({Role.WORKER})

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        super().__init__(context, MAX_LINK_BYTES)

    def messages(self, limit: int) -> Iterator[WorkerSaid | WorkerGarbled]:
        """Read what has come, up to a number of messages."""
        receive_peer, receive, accounts = self._receive_peer, self._receive, self._known
        before = self._before_frame
        for _ in range(limit):
            try:
                peer = receive_peer()
            except zmq.Again:
                return
            frame = receive()
            account = accounts.get(peer) or self._account(peer, frame)
            sender = None
            if self._principals is not None:
                sender = self._sender(frame, account)
                if sender is None or is_named(peer):
                    self._skip_after(frame, account)
                    if sender is not None:
                        yield WorkerGarbled(account.handle, NAMED, sender=sender)
                    continue
            peer = account.handle
            header, body = frame.bytes, None
            account.read += len(header) + before
            if frame.more:
                frame = receive()
                body = frame.bytes
                account.read += len(body) + before
                if frame.more:
                    self._skip_after(frame, account)
                    error = "a message has a header, and one body at most"
                    yield WorkerGarbled(peer, error, sender=sender)
                    continue
            try:
                message = decode_from_worker(header)
            except OtherProtocol as other:
                yield WorkerGarbled(peer, str(other), other.identity, sender)
                continue
            except BadMessage as bad:
                yield WorkerGarbled(peer, str(bad), sender=sender)
                continue
            if (body is not None) is not (type(message) in _WITH_BODY):
                error = "a body is for results and progress, and needed there"
                yield WorkerGarbled(peer, error, sender=sender)
                continue
            yield WorkerSaid(peer, message, body if body is not None else b"", sender)

    def tell(self, peer: bytes, header: bytes, body: bytes | None = None) -> bool:
        """Send a message to a worker; False if it is not there, or does not read."""
        account = self._begin(peer)
        if account is None:
            return False
        size = len(header)
        account.sent += size
        if body is None:
            self._send(header, 0, size < ZERO_COPY_BYTES)
        else:
            self._send(header, MORE)
            size = len(body)
            account.sent += size
            self._send(body, 0, size < ZERO_COPY_BYTES)
        return True


_WITH_BODY = frozenset({Result, Progress})

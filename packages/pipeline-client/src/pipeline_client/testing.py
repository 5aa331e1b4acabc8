"""A router that says what it is told to, on a real socket, for tests of what uses a client."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
import zmq
from msgspec import Struct

from pipeline_protocol import BadRequest, codec, requests, responses, status
from pipeline_protocol.names import nearest
from pipeline_protocol.replies import Context, ProgressLines, ProgressReply

Answering = Callable[[bytes], Iterable[bytes]]
"""From a request's bytes to the replies' bytes, in order; none at all is silence."""

_TURN_MS = 20


class _Said(Struct, frozen=True):
    """What one request is answered, and how long after."""

    replies: Sequence[bytes]
    delay_s: float = 0.0


class FakeRouter:
    """Answers in a thread of its own while the context lasts.

        router = FakeRouter()
        router.failing("test_solution", 503, "all are busy").returning(
            "test_solution", {"status": "pass"}
        )
        with router, PipelineClient(router.address) as client: ...

    Each request of an action takes the next of its answers, and the last one stays for all that
    follow. What nothing was said of is answered as by a router that no worker has found yet: it
    knows `ping`, and for the rest has no worker (503).

    `answering` is for tests of clients themselves: it is given bytes and returns bytes, be they
    what a router would never say.
    """

    def __init__(self, answering: Answering | None = None, *, port: int = 0) -> None:
        self._answering = answering
        self._script: dict[str, list[_Said]] = {}
        self._delayed: list[tuple[float, int, list[bytes]]] = []
        self._order = itertools.count()
        self._stopping = threading.Event()
        self.requests: list[requests.Request] = []
        """What was asked, the structs of `pipeline_protocol.requests`."""
        self.heard: list[bytes] = []
        """The same as it was sent, and what was no request."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)  # a reply is never dropped, whoever reads slowly
        try:
            self._socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        except zmq.ZMQError:
            self._close()
            raise
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = int(self.address.rpartition(":")[2])
        self._thread = threading.Thread(target=self._serve, name="fake router", daemon=True)
        self._thread.start()

    # --- what it will say

    def returning(
        self,
        action: str,
        response: Any,
        *,
        context: Context | None = None,
        lines: Sequence[str] = (),
        delay_s: float = 0.0,
    ) -> Self:
        """Answer 200 with a response, plain data or a struct of `pipeline_protocol.responses`.

        The lines are its output on the way, for who asks for it.
        """
        return self._say(action, codec.answer(response, context), lines, delay_s)

    def failing(
        self,
        action: str,
        code: int,
        error: str = "as the test says",
        *,
        context: Context | None = None,
        retry_after_s: float | None = None,
        lines: Sequence[str] = (),
        delay_s: float = 0.0,
    ) -> Self:
        """Answer with a status of `pipeline_protocol.status`."""
        said = context or Context()
        if retry_after_s is not None:
            said = msgspec.structs.replace(said, retry_after_s=retry_after_s)
        return self._say(action, codec.refusal(code, error, said), lines, delay_s)

    def ignoring(self, action: str) -> Self:
        """Say nothing, so that the client's time runs out."""
        return self._add(action, _Said(()))

    def _say(self, action: str, reply: bytes, lines: Sequence[str], delay_s: float) -> Self:
        said = [reply]
        if lines:
            said.insert(0, codec.encode_json(ProgressReply(ProgressLines(tuple(lines)))))
        return self._add(action, _Said(said, delay_s))

    def _add(self, action: str, said: _Said) -> Self:
        if action not in requests.ACTIONS:
            known = requests.ACTIONS
            raise ValueError(f"there is no action {action!r}{nearest(action, known)}")
        self._script.setdefault(action, []).append(said)
        return self

    # --- its life

    def stop(self) -> None:
        """Fall silent, and free the port."""
        self._stopping.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- the thread

    def _serve(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._socket.poll(_TURN_MS if not self._delayed else 1):
                    self._take(self._socket.recv_multipart())
                while self._delayed and self._delayed[0][0] <= time.monotonic():
                    self._socket.send_multipart(heapq.heappop(self._delayed)[2])
        finally:
            self._close()

    def _take(self, frames: list[bytes]) -> None:
        *envelope, empty, request = frames
        said = self._said(request)
        due = time.monotonic() + said.delay_s
        for reply in said.replies:
            frames = [*envelope, empty, reply]
            heapq.heappush(self._delayed, (due, next(self._order), frames))

    def _said(self, request: bytes) -> _Said:
        self.heard.append(request)
        try:
            decoded = codec.decode_request(request)
            self.requests.append(decoded)
        except BadRequest as error:
            said = _Said((codec.refusal(error.code, str(error)),))
        else:
            said = self._answer(decoded)
        return _Said(tuple(self._answering(request))) if self._answering else said

    def _answer(self, request: requests.Request) -> _Said:
        script = self._script.get(str(request.__struct_config__.tag))
        if script:
            said = script.pop(0) if len(script) > 1 else script[0]
            wants_lines = isinstance(request, requests.WorkerServed) and request.progress
            return said if wants_lines else _Said(said.replies[-1:], said.delay_s)
        if isinstance(request, requests.Ping):
            return _Said((codec.answer(responses.Pong("0.1.0", 1.0)),))
        return _Said((codec.refusal(status.NO_WORKER, "start one with `pipeline-worker listen`"),))

    def _close(self) -> None:
        self._socket.close()
        self._context.term()

"""A router that says what it is told to, on a real socket, for tests of what uses a client."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import zmq

from pipeline_protocol import BadRequest, codec, requests, responses, status

Answering = Callable[[bytes], Iterable[bytes]]
"""From a request's bytes to the replies' bytes, in order; none at all is silence."""


class FakeRouter:
    """Answers in a thread of its own while the context lasts, one request after the other.

        with FakeRouter(lambda request: [codec.answer(...)]) as router:
            client = PipelineClient(router.address)

    Without `answering` it knows `ping`, and for the rest has no worker (503).
    """

    def __init__(self, answering: Answering | None = None, *, port: int = 0) -> None:
        self._answering = answering or ping_or_nobody
        self._stopping = threading.Event()
        self.requests: list[bytes] = []
        """What was heard, as it was sent."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        except zmq.ZMQError:
            self._close()
            raise
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = int(self.address.rpartition(":")[2])
        self._thread = threading.Thread(target=self._serve, name="fake router", daemon=True)
        self._thread.start()

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

    def _serve(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._socket.poll(20):
                    continue
                *envelope, empty, request = self._socket.recv_multipart()
                self.requests.append(request)
                for reply in self._answering(request):
                    self._socket.send_multipart([*envelope, empty, reply])
        finally:
            self._close()

    def _close(self) -> None:
        self._socket.close()
        self._context.term()


def ping_or_nobody(request: bytes) -> Iterable[bytes]:
    """Answer as a router does that no worker has found yet."""
    try:
        decoded = codec.decode_request(request)
    except BadRequest as error:
        return [codec.refusal(error.code, str(error))]
    if isinstance(decoded, requests.Ping):
        return [codec.answer(responses.Pong("0.1.0", 1.0))]
    return [codec.refusal(status.NO_WORKER, "start one with `pipeline-worker listen`")]

"""The client for code that waits: whatever can be asked, as a method."""

import os
import threading
import weakref
from collections.abc import Callable
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from pipeline_client._keys_file import key_options
from pipeline_client._plans import jobs, operations
from pipeline_client._plans.options import ClientOptions
from pipeline_client._plans.retries import USUAL, Retries
from pipeline_client._plans.signatures import copy_signature
from pipeline_client._plans.steps import CallPlan, Exchange, Pause, Step
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import RouterAddress, status

if TYPE_CHECKING:
    from pipeline_client._transport.threads import Inbox, ThreadTransport

P = ParamSpec("P")
T = TypeVar("T")

_CLOSING_S = 1.0
"""That `close` waits for the thread to let go; it takes less than a millisecond."""


def _carrying_out(make: Callable[P, CallPlan[T]]) -> Callable[Concatenate["PipelineClient", P], T]:
    """Return the method that carries out what `make` makes."""

    def method(self: "PipelineClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._carry_out(make(*args, **kwargs))

    copy_signature(method, make, "PipelineClient")
    return method


class PipelineClient:
    """A router, for as many threads as like to ask it.

    A call returns its result or raises a PipelineError, at the latest a second after its
    `timeout_s`; if it is not told one, after that of the client, or else 60 s (1800 s for a build,
    10 s for what the router answers by itself). Within that time it is tried again as `retries` say
    (None: not at all). After `resend_after_s` of silence, and whenever the connection was lost, a
    request is sent again: a restart of the router costs no more than time. Folders that are too
    large to be sent along are uploaded below `upload_to`, ``s3://bucket/prefix/``.

    `keys` is the file that this client was given (`pipeline-router keys add`), for a router with
    keys. A router that does not let it in is asked again, a key that is added later is taken at
    once, and what is wrong is said by the 101 that ends the call.

    Usable as a context manager; `close` otherwise. After a fork the child has a connection of its
    own.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float | None = None,
        resend_after_s: float = 5.0,
        retries: Retries | None = USUAL,
        upload_to: str | None = None,
        keys: str | PathLike[str] | None = None,
    ) -> None:
        """Take a router's ``tcp://HOST:PORT``, else raise BadAddress; the first call connects.

        Raises BadKeys for a file of keys that is of no use.
        """
        self.address = RouterAddress.parse(address)
        self._options = ClientOptions(
            router=self.address,
            timeout_s=timeout_s,
            resend_after_s=resend_after_s,
            retries=retries,
            upload_to=upload_to,
            **key_options(keys),
        )
        # ZeroMQ takes a third of an import's time, so those load it who make a client. Here, not
        # with the first call: what another thread has half imported, a forked child never gets.
        import pipeline_client._transport.threads  # noqa: F401

        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._transport: ThreadTransport | None = None
        self._inherited: list[ThreadTransport | None] = []
        _clients.add(self)

    test_solution = _carrying_out(jobs.test_solution)
    analyse_solution = _carrying_out(jobs.analyse_solution)
    recommend_solution = _carrying_out(jobs.recommend_solution)
    represent_solution = _carrying_out(jobs.represent_solution)
    build_container = _carrying_out(jobs.build_container)
    list_available_containers = _carrying_out(jobs.list_available_containers)
    deploy_container_version = _carrying_out(operations.deploy_container_version)
    unload_container_version = _carrying_out(operations.unload_container_version)
    update_container_versions = _carrying_out(operations.update_container_versions)
    deployment_check = _carrying_out(operations.deployment_check)
    current_config = _carrying_out(operations.current_config)
    status = _carrying_out(operations.status)
    workers = _carrying_out(operations.workers)
    cancel = _carrying_out(operations.cancel)
    ping = _carrying_out(operations.ping)
    restart_workers = _carrying_out(operations.restart_workers)
    drain_worker = _carrying_out(operations.drain_worker)
    forget_images = _carrying_out(operations.forget_images)
    dismiss_worker = _carrying_out(operations.dismiss_worker)
    audit = _carrying_out(operations.audit)

    def close(self) -> None:
        """Let go of the connection; calls under way in other threads end with 499."""
        self._closing.set()
        transport = self._transport
        if transport:
            transport.close()
            transport.join(_CLOSING_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _carry_out(self, plan: CallPlan[T]) -> T:
        steps = plan.steps(self._options)
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = self._take(step)

    def _take(self, step: Step) -> Any:
        if isinstance(step, Exchange):
            return self._own_transport().perform(step)
        if isinstance(step, Pause):
            if self._closing.wait(step.seconds):
                raise _closed()
            return None
        return step.do()

    def _own_transport(self) -> "ThreadTransport":
        from pipeline_client._transport.connection import Connection
        from pipeline_client._transport.threads import ThreadTransport

        with self._lock:
            if self._closing.is_set():
                raise _closed()
            if self._transport is None or self._transport.over:
                connection: Connection[Inbox] = Connection(self._options)
                self._transport = ThreadTransport(connection)
                weakref.finalize(self, self._transport.close)
            return self._transport

    def _start_anew(self) -> None:
        """Forget the transport, and wait for no lock: another thread of the parent may have it."""
        closed = self._closing.is_set()
        self._closing = threading.Event()
        if closed:
            self._closing.set()
        self._lock = threading.Lock()
        # Let go of, the parent's socket would be closed here, and the parent goes on using it.
        self._inherited.append(self._transport)
        self._transport = None


def _closed() -> PipelineError:
    return error_of(status.CANCELLED, "this client is closed: make a new one")


_clients: "weakref.WeakSet[PipelineClient]" = weakref.WeakSet()


def _start_anew_in_child() -> None:
    for client in list(_clients):
        client._start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)

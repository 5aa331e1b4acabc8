"""The client for code that waits: every function of `calls` as a method."""

import inspect
import itertools
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar, get_args

import zmq

from pipeline_client import calls
from pipeline_client.calls import Call
from pipeline_client.connections import Connections
from pipeline_client.errors import error_of
from pipeline_client.exchange import Exchange
from pipeline_protocol import RouterAddress, status

P = ParamSpec("P")
T = TypeVar("T")

_LISTEN_S = 0.25
"""How soon a call notices that another thread closed the client."""


def _carrying_out(make: Callable[P, Call[T]]) -> Callable[Concatenate["PipelineClient", P], T]:
    """Return the method that carries out what `make` makes: arguments and words are said once."""

    def method(self: "PipelineClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._carry_out(make(*args, **kwargs))

    said = inspect.signature(make)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (result,) = get_args(said.return_annotation)
    method.__name__ = make.__name__
    method.__qualname__ = f"PipelineClient.{make.__name__}"
    method.__doc__ = make.__doc__
    method.__signature__ = said.replace(  # type: ignore[attr-defined]
        parameters=[this, *said.parameters.values()], return_annotation=result
    )
    return method


class PipelineClient:
    """A router, for as many threads as like to ask it.

    A call returns its result or raises a PipelineError, at the latest a second after its
    `timeout_s`; if it is not told one, after that of the client, or else 60 s (1800 s for a build,
    10 s for what the router answers by itself). After `resend_after_s` of silence a request is sent
    again: a restart of the router costs no more than time.

    Usable as a context manager; `close` otherwise. After a fork the child has connections of its
    own.
    """

    def __init__(
        self, address: str, *, timeout_s: float | None = None, resend_after_s: float = 5.0
    ) -> None:
        """Take a router's ``tcp://HOST:PORT``, else raise BadAddress; the first call connects."""
        if not resend_after_s > 0:
            raise ValueError(f"resend_after_s must be more than 0, not {resend_after_s}")
        self.address = RouterAddress.parse(address)
        self._timeout_s = timeout_s
        self._resend_after_s = resend_after_s
        self._counter = itertools.count()
        self._connections = self._new_connections()
        self._inherited: list[Connections] = []

    test_solution = _carrying_out(calls.test_solution)
    analyse_solution = _carrying_out(calls.analyse_solution)
    recommend_solution = _carrying_out(calls.recommend_solution)
    represent_solution = _carrying_out(calls.represent_solution)
    build_container = _carrying_out(calls.build_container)
    list_available_containers = _carrying_out(calls.list_available_containers)
    deploy_container_version = _carrying_out(calls.deploy_container_version)
    unload_container_version = _carrying_out(calls.unload_container_version)
    update_container_versions = _carrying_out(calls.update_container_versions)
    deployment_check = _carrying_out(calls.deployment_check)
    current_config = _carrying_out(calls.current_config)
    current_worker_status = _carrying_out(calls.current_worker_status)
    describe_workers = _carrying_out(calls.describe_workers)
    cancel = _carrying_out(calls.cancel)
    ping = _carrying_out(calls.ping)
    restart_workers = _carrying_out(calls.restart_workers)
    drain_worker = _carrying_out(calls.drain_worker)

    def close(self) -> None:
        """Let go of every connection; calls under way in other threads end with 499."""
        if self._connections.pid == os.getpid():
            self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _carry_out(self, call: Call[T]) -> T:
        exchange = Exchange(
            call,
            next(self._counter).to_bytes(8, "big"),
            time.monotonic(),
            address=str(self.address),
            timeout_s=self._timeout_s,
            resend_after_s=self._resend_after_s,
        )
        return calls.read(call, self._converse(exchange))

    def _converse(self, exchange: Exchange) -> bytes:
        connections = self._own_connections()
        if connections.closed:
            raise error_of(status.CANCELLED, "this client is closed: make a new one")
        socket = connections.take()
        reply = None
        try:
            # One call's request at a time: a socket's queue is never full, and sending never waits.
            socket.send_multipart(exchange.frames)
            while reply is None:
                if connections.closed:
                    raise error_of(status.CANCELLED, "the client was closed while this waited")
                wait_s = min(exchange.wait_s(time.monotonic()), _LISTEN_S)
                if socket.poll(int(wait_s * 1000) + 1, zmq.POLLIN):
                    reply = exchange.hear(socket.recv_multipart(), time.monotonic())
                if reply is None and exchange.is_overdue(time.monotonic()):
                    socket = connections.renew(socket)
                    socket.send_multipart(exchange.frames)
        finally:
            connections.give_back(socket, sound=reply is not None)
        return reply

    def _own_connections(self) -> Connections:
        # After a fork: ZeroMQ's threads are gone, and the lock may have been held. What the parent
        # made is not used, nor let go of, which would close what the parent goes on using.
        if self._connections.pid != os.getpid():
            self._inherited.append(self._connections)
            self._connections = self._new_connections()
        return self._connections

    def _new_connections(self) -> Connections:
        return Connections(self.address.endpoint(), ipv6=":" in self.address.host)

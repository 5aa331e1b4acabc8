"""The client for code under asyncio: the same calls, awaited."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from os import PathLike
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from pipeline_client._keys_file import key_options
from pipeline_client._plans import jobs, operations
from pipeline_client._plans.options import ClientOptions
from pipeline_client._plans.retries import USUAL, Retries
from pipeline_client._plans.signatures import copy_signature
from pipeline_client._plans.steps import CallPlan, Exchange, Pause, Step
from pipeline_client._transport.tasks import AsyncioTransport
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import RouterAddress, status

P = ParamSpec("P")
T = TypeVar("T")


def _carrying_out(
    make: Callable[P, CallPlan[T]],
) -> Callable[Concatenate["AsyncPipelineClient", P], Coroutine[Any, Any, T]]:
    """Return the method that carries out what `make` makes."""

    async def method(self: "AsyncPipelineClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._carry_out(make(*args, **kwargs))

    copy_signature(method, make, "AsyncPipelineClient")
    return method


class AsyncPipelineClient:
    """A router, for as many tasks of one event loop as like to ask it: see `PipelineClient`.

    `on_line` and `on_progress` are called in the loop: plain functions, and quick ones. A task that
    is cancelled forgets what it asked for. The job goes on, and its answer waits with the router
    for who asks again by the same `id`, as another may have already: to take it back is to say
    `cancel`.

    Usable as an async context manager; `close` otherwise. One client belongs to one loop, that of
    its first call, until that loop is closed. The loop has to watch file descriptors, as all do but
    the proactor of Windows.
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
        self._closed = False
        self._transport: AsyncioTransport | None = None

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

    async def close(self) -> None:
        """Let go of the connection; calls under way in other tasks end with 499."""
        self._closed = True
        if self._transport:
            self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _carry_out(self, plan: CallPlan[T]) -> T:
        steps = plan.steps(self._options)
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = await self._take(step)

    async def _take(self, step: Step) -> Any:
        if isinstance(step, Exchange):
            return await self._own_transport().perform(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await _apart(step.do)

    def _own_transport(self) -> AsyncioTransport:
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        transport = self._transport
        if transport and transport.belongs_to(loop):
            return transport
        if transport and not transport.over():
            why = "this client belongs to another event loop that is still open: make one for each"
            raise RuntimeError(why)
        self._transport = AsyncioTransport(self._options, loop)
        weakref.finalize(self, self._transport.let_go)
        return self._transport


async def _apart(do: Callable[[], Any]) -> Any:
    """Like `asyncio.to_thread`; but for this thread neither a loop's end nor an exit waits."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: Exception | None) -> None:
        if outcome.done():
            return  # the task was cancelled
        if error:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    def work() -> None:
        result, failed = None, None
        try:
            result = do()
        except Exception as error:
            failed = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=work, name="pipeline client's files", daemon=True).start()
    return await outcome


def _closed() -> PipelineError:
    return error_of(status.CANCELLED, "this client is closed: make a new one")

"""The client under asyncio, on real sockets; what it shares with the other is tested there."""

import asyncio
import gc
import random
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from pipeline_client import AsyncPipelineClient, CallerError, ClientTimedOut, PlatformError
from pipeline_client.testing import FakeRouter
from pipeline_protocol import codec, requests, responses

NAMES = ("ruby", "two-fer", "v1")
FILES = {"two_fer.rb": ""}
PONG = responses.Pong("0.1.0", 1.0)


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main())


async def heard(router: FakeRouter, number: int = 1) -> None:
    """Wait until the router has heard so many requests."""
    async with asyncio.timeout(30):
        while len(router.heard) < number:
            await asyncio.sleep(0.005)


@pytest.fixture
def free_port() -> int:
    """A port that is free, and that no connection's own end is given meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(zmq.ZMQError), FakeRouter(port=port):
            return port


def test_many_tasks_get_their_own_answers() -> None:
    def answering(request: bytes) -> Iterable[bytes]:
        decoded = codec.decode_request(request)
        assert isinstance(decoded, requests.TestSolution)
        return [codec.answer({"id": decoded.id})]

    async def main() -> None:
        async with AsyncPipelineClient(router.address) as client:
            answers = await asyncio.gather(
                *(client.test_solution(*NAMES, files=FILES, id=f"run-{n}") for n in range(2000))
            )
        assert [answer.response["id"] for answer in answers] == [f"run-{n}" for n in range(2000)]

    with FakeRouter(answering) as router:
        run(main)


def test_a_folder_is_sent_with_its_bytes_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    for name, data in {"a.png": b"\x89PNG", "a.rb": b"puts 1", "a.rb~": b""}.items():
        (tmp_path / name).write_bytes(data)
    told: list[tuple[threading.Thread, tuple[str, ...]]] = []

    def tell(names: tuple[str, ...]) -> None:
        told.append((threading.current_thread(), names))

    async def main() -> None:
        async with AsyncPipelineClient(router.address) as client:
            await client.test_solution(*NAMES, folder=tmp_path, on_left_out=tell)

    with FakeRouter().returning("test_solution", {"status": "pass"}) as router:
        run(main)
    (request,) = router.requests
    assert isinstance(request, requests.TestSolution)
    assert request.files == {"a.png": requests.BinaryFile(b"\x89PNG"), "a.rb": "puts 1"}
    assert told == [(threading.main_thread(), ("a.rb~",))]  # in the loop's own


def test_more_at_a_time_than_any_queue_holds() -> None:
    """ZeroMQ's queues hold 1,000 messages, the router's 10,000: nothing is dropped on the way."""

    async def main() -> None:
        async with AsyncPipelineClient(
            router.address, timeout_s=100, resend_after_s=1000
        ) as client:
            pongs = await asyncio.gather(*(client.ping() for _ in range(12_000)))
        assert pongs == [PONG] * 12_000

    with FakeRouter() as router:
        run(main)


def test_lines_come_before_the_answer() -> None:
    lines: list[str] = []

    async def main() -> None:
        async with AsyncPipelineClient(router.address) as client:
            answer = await client.test_solution(*NAMES, files=FILES, on_line=lines.append)
            assert lines == ["one", "two"]
            assert answer.response == {"status": "pass"}

    with FakeRouter().returning(
        "test_solution", {"status": "pass"}, lines=["one", "two"]
    ) as router:
        run(main)


def test_callers_own_time_out_in_a_line_is_his() -> None:
    def fail(line: str) -> None:
        raise TimeoutError(line)

    async def main() -> None:
        async with AsyncPipelineClient(router.address) as client:
            with pytest.raises(TimeoutError, match="one"):
                await client.test_solution(*NAMES, files=FILES, on_line=fail)
            await client.ping()

    with FakeRouter().returning("test_solution", {}, lines=["one"]) as router:
        run(main)


def test_silent_router() -> None:
    async def main() -> None:
        async with AsyncPipelineClient(router.address) as client:
            with pytest.raises(ClientTimedOut):
                await client.ping(timeout_s=0.1)

    with FakeRouter().ignoring("ping") as router:
        run(main)


def test_trying_again() -> None:
    async def main() -> None:
        async with AsyncPipelineClient(router.address) as client:
            assert (await client.test_solution(*NAMES, files=FILES)).response == {"status": "pass"}

    with (
        FakeRouter()
        .failing("test_solution", 503, "all are busy")
        .returning("test_solution", {"status": "pass"}) as router
    ):
        run(main)


def test_router_that_restarts_while_calls_wait(free_port: int) -> None:
    async def main() -> None:
        async with AsyncPipelineClient(first.address, resend_after_s=1000) as client:
            async with asyncio.TaskGroup() as tasks:
                calls = [
                    tasks.create_task(client.test_solution(*NAMES, files=FILES)) for _ in range(3)
                ]
                await heard(first, 3)
                await asyncio.to_thread(first.stop)
                second = FakeRouter(port=free_port)
                second.returning("test_solution", {"status": "pass"})
            second.stop()
            assert {call.result().response["status"] for call in calls} == {"pass"}
            assert sorted(second.heard) == sorted(first.heard)

    first = FakeRouter(port=free_port).ignoring("test_solution")
    run(main)


def test_cancelled_task_forgets_what_it_asked() -> None:
    """And says nothing to the router: another may wait for the same answer."""

    async def main() -> None:
        async with AsyncPipelineClient(router.address) as client:
            call = asyncio.create_task(client.test_solution(*NAMES, files=FILES))
            await heard(router)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await client.ping()
            line = client._transport
            assert line
            assert line._connection.in_flight.waiters() == []
        assert [type(request).__name__ for request in router.requests] == ["TestSolution", "Ping"]

    with FakeRouter().ignoring("test_solution") as router:
        run(main)


def test_close_ends_calls_of_other_tasks() -> None:
    async def main() -> None:
        client = AsyncPipelineClient(router.address)
        call = asyncio.create_task(client.ping())
        await heard(router)
        await client.close()
        await client.close()
        with pytest.raises(CallerError, match="closed while this waited"):
            await call
        with pytest.raises(CallerError, match="make a new one"):
            await client.ping()

    with FakeRouter().ignoring("ping") as router:
        run(main)


def test_client_goes_over_to_a_new_loop_when_its_own_is_closed() -> None:
    with FakeRouter() as router:
        client = AsyncPipelineClient(router.address)
        for _ in range(3):
            assert run(client.ping) == PONG
        run(client.close)


def test_client_has_one_loop_at_a_time() -> None:
    with FakeRouter() as router:
        client = AsyncPipelineClient(router.address)
        with asyncio.Runner() as first:
            first.run(client.ping())
            with asyncio.Runner() as second, pytest.raises(RuntimeError, match="one for each"):
                second.run(client.ping())
            first.run(client.close())


def test_client_that_nobody_closed_leaves_nothing() -> None:
    async def main() -> None:
        await AsyncPipelineClient(router.address).ping()
        gc.collect()
        await asyncio.sleep(0)

    with FakeRouter() as router, warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = threading.active_count()
        run(main)
        gc.collect()
        assert threading.active_count() == threads


def test_loop_that_ends_while_calls_wait() -> None:
    async def main() -> None:
        client = AsyncPipelineClient(router.address)
        clients.append(client)
        tasks.append(asyncio.create_task(client.ping(timeout_s=600)))
        await heard(router)

    clients: list[AsyncPipelineClient] = []
    tasks: list[asyncio.Task[Any]] = []
    with FakeRouter().ignoring("ping") as router:
        started = time.monotonic()
        run(main)
        assert tasks[0].cancelled()
        clients.clear()
        gc.collect()
        assert time.monotonic() - started < 60


def test_without_workers_it_says_so() -> None:
    async def main() -> None:
        async with AsyncPipelineClient(router.address, retries=None) as client:
            with pytest.raises(PlatformError, match="pipeline-worker listen"):
                await client.test_solution(*NAMES, files=FILES)

    with FakeRouter() as router:
        run(main)

"""NATS request/reply: nats-server, nats-py on both ends, workers in a queue group."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
from nats.aio.msg import Msg
from support.processes import Process

from others.outcome import (
    HOST,
    IN_FLIGHT,
    PAYLOAD,
    WORKERS,
    Clock,
    Measure,
    Outcome,
    await_port,
    free_port,
    worker,
)

GUARANTEES = "at most once: nothing is kept, a dead worker's request times out"
HOW = "nats-py, 200 coroutines; workers: nats-py"


def work(address: str) -> None:
    """Answer every request with its own payload."""

    async def serve() -> None:
        connection = await nats.connect(address)

        async def answer(message: Msg) -> None:
            await message.respond(message.data)

        await connection.subscribe("jobs", queue="workers", cb=answer)
        await connection.flush()
        print("serving", flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


async def _ask(address: str, seconds: float) -> Outcome:
    connection = await nats.connect(address)
    await connection.request("jobs", PAYLOAD, timeout=10)
    clock = Clock(seconds)

    async def keep_one_in_flight() -> None:
        while True:
            asked = time.perf_counter()
            reply = await connection.request("jobs", PAYLOAD, timeout=10)
            assert reply.data == PAYLOAD
            if not clock.back(asked):
                return

    await asyncio.gather(*(keep_one_in_flight() for _ in range(IN_FLIGHT)))
    await connection.close()
    return clock.outcome()


@contextmanager
def running(folder: Path) -> Iterator[Measure]:
    """Start the server and its workers."""
    port = free_port()
    address = f"nats://{HOST}:{port}"
    processes = [
        Process("nats", ["/usr/sbin/nats-server", "-a", HOST, "-p", str(port)], folder / "nats.log")
    ]
    try:
        await_port(port, processes[0])
        for number in range(WORKERS):
            processes.append(worker("nats_request", f"nats-{number}", folder, address))
            processes[-1].wait_for("serving")
        yield lambda seconds: asyncio.run(_ask(address, seconds))
    finally:
        for process in processes:
            process.kill()

"""dask.distributed: a scheduler, two workers of one thread, the synchronous client."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, as_completed
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
)

GUARANTEES = "a dead worker's task runs again; a dead scheduler's are lost"
HOW = "submit() and as_completed(); two workers of one thread"


def _ask(client: Any, seconds: float) -> Outcome:
    asked: dict[str, float] = {}

    def echo(payload: bytes) -> bytes:  # local, so that it is sent whole: workers cannot import it
        return payload

    def submit() -> Any:
        future = client.submit(echo, PAYLOAD, pure=False)
        asked[future.key] = time.perf_counter()
        return future

    clock = Clock(seconds)
    completed: Any = as_completed(  # type: ignore[no-untyped-call]
        [submit() for _ in range(IN_FLIGHT)], with_results=True
    )
    for future, payload in completed:
        assert payload == PAYLOAD
        if clock.back(asked.pop(future.key)):
            completed.add(submit())
    return clock.outcome()


@contextmanager
def running(folder: Path) -> Iterator[Measure]:
    """Start the scheduler and its workers."""
    port = free_port()
    address = f"tcp://{HOST}:{port}"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    dask += ["--host", HOST, "--port", str(port), "--no-dashboard", "--no-jupyter"]
    processes = [Process("dask", dask, folder / "dask.log")]
    try:
        await_port(port, processes[0])
        for number in range(WORKERS):
            command = [sys.executable, "-m", "distributed.cli.dask_worker", address]
            command += ["--host", HOST, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
            command += ["--local-directory", str(folder), "--memory-limit", "0"]
            processes.append(Process(f"dask-{number}", command, folder / f"dask-{number}.log"))
        with Client(address) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(WORKERS, timeout=30)
            yield lambda seconds: _ask(client, seconds)
    finally:
        for process in reversed(processes):
            process.kill()

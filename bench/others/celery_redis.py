"""Celery over Redis, which is broker and result backend; one worker with two processes.

Configured as its documentation's first steps do: all defaults, tasks logged at INFO.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from celery import Celery  # type: ignore[import-untyped]
from support.processes import Died, Process

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

GUARANTEES = "at most once as it comes: a job is acknowledged before it runs"
HOW = "delay() and get(), oldest first; one worker of two processes, as its first steps say"
TEXT = PAYLOAD.decode()


def _app(address: str) -> tuple[Celery, Any]:
    app = Celery("echo", broker=address, backend=address)

    @app.task(name="echo")  # type: ignore[untyped-decorator]
    def echo(payload: str) -> str:
        return payload

    return app, echo


def work(address: str) -> None:
    """Run a worker."""
    app, _ = _app(address)
    app.worker_main(["worker", f"--concurrency={WORKERS}", "--loglevel=INFO"])


def _ask(echo: Any, seconds: float) -> Outcome:
    clock = Clock(seconds)
    under_way = deque((time.perf_counter(), echo.delay(TEXT)) for _ in range(IN_FLIGHT))
    while under_way:
        asked, result = under_way.popleft()
        assert result.get(timeout=20) == TEXT
        if clock.back(asked):
            under_way.append((time.perf_counter(), echo.delay(TEXT)))
    return clock.outcome()


@contextmanager
def running(folder: Path) -> Iterator[Measure]:
    """Start Redis and the worker."""
    port = free_port()
    address = f"redis://{HOST}:{port}/0"
    command = ["/usr/bin/redis-server", "--bind", HOST, "--port", str(port)]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    processes = [Process("redis", command, folder / "redis.log")]
    try:
        await_port(port, processes[0])
        processes.append(worker("celery_redis", "celery", folder, address))
        app, echo = _app(address)
        assert echo.delay(TEXT).get(timeout=30) == TEXT
        yield lambda seconds: _ask(echo, seconds)
        app.close()
    finally:
        for process in reversed(processes):
            try:
                process.stop(5)
            except Died:
                with suppress(ProcessLookupError):  # a worker's processes are in its group
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()

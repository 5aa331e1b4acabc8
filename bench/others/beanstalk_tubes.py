"""beanstalkd: greenstalk on both ends; it has no way back, so results go through a second tube."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import greenstalk
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

GUARANTEES = "at least once, in memory: a job comes back when its time-to-run is over"
HOW = "greenstalk, one connection; workers: greenstalk; results: a second tube"
STAMP = 16


def _client(port: int, use: str, watch: str) -> "greenstalk.Client[bytes]":
    return greenstalk.Client((HOST, port), encoding=None, use=use, watch=watch)


def work(port: str) -> None:
    """Put every job's body into the other tube."""
    client = _client(int(port), "results", "jobs")
    print("serving", flush=True)
    while True:
        job = client.reserve()
        client.put(job.body)
        client.delete(job)


def _ask(port: int, seconds: float) -> Outcome:
    client = _client(port, "jobs", "results")
    clock = Clock(seconds)

    def put() -> None:
        client.put(f"{time.perf_counter():0{STAMP}.6f}".encode() + PAYLOAD[STAMP:])

    for _ in range(IN_FLIGHT):
        put()
    waiting = IN_FLIGHT
    while waiting:
        job = client.reserve(timeout=10)
        client.delete(job)
        assert len(job.body) == len(PAYLOAD)
        if clock.back(float(job.body[:STAMP])):
            put()
        else:
            waiting -= 1
    client.close()
    return clock.outcome()


@contextmanager
def running(folder: Path) -> Iterator[Measure]:
    """Start the server and its workers."""
    port = free_port()
    command = ["/usr/bin/beanstalkd", "-l", HOST, "-p", str(port)]
    processes = [Process("beanstalkd", command, folder / "beanstalkd.log")]
    try:
        await_port(port, processes[0])
        for number in range(WORKERS):
            processes.append(worker("beanstalk_tubes", f"beanstalk-{number}", folder, str(port)))
            processes[-1].wait_for("serving")
        yield lambda seconds: _ask(port, seconds)
    finally:
        for process in processes:
            process.kill()

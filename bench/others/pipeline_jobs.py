"""pipeline itself: its router, and the barest Python on both ends, as any language could be.

A client's DEALER with a correlation frame a request; workers that answer at once. Both read all
that has come before they send, which spares system calls. Neither is this project's client or
worker: no container is started, no result is held until it is acknowledged.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sides
import words
import zmq
from msgspec.structs import replace

from others.outcome import IN_FLIGHT, WORKERS, Clock, Measure, Outcome, worker
from pipeline_protocol.codec import decode_from_worker, decode_to_worker, encode_link
from pipeline_protocol.link import Hello, Job, Result, Welcome, WorkerHeartbeat

GUARANTEES = sides.RULES
HOW = "pyzmq, one DEALER; workers: pyzmq and msgspec, two processes"


def work(link: str, name: str) -> None:
    """Answer every job at once with the same reply."""
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(link)
    hello = decode_from_worker(words.link_words().hello)
    assert isinstance(hello, Hello)
    socket.send(encode_link(replace(hello, identity=name, slots=IN_FLIGHT // WORKERS)))
    reply = words.words().reply
    heartbeat = encode_link(WorkerHeartbeat(0))
    next_beat = time.monotonic() + 1
    while True:
        socket.poll(500)
        jobs = []
        with suppress(zmq.Again):
            while len(jobs) < IN_FLIGHT:
                header = decode_to_worker(socket.recv(zmq.NOBLOCK))
                if isinstance(header, Job):
                    socket.recv()
                    jobs.append(header)
                elif isinstance(header, Welcome):
                    print("serving", flush=True)
        for job in jobs:
            socket.send(encode_link(Result(job.job, job.attempt, 200)), zmq.SNDMORE)
            socket.send(reply)
        if time.monotonic() >= next_beat:
            socket.send(heartbeat)
            next_beat = time.monotonic() + 1


def _ask(front: str, seconds: float) -> Outcome:
    said = words.words()
    before, after = said.request[: said.id_offset], said.request[said.id_offset + said.id_digits :]
    start = time.time_ns() % 10**11
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(front)
        asked: dict[bytes, float] = {}
        number = start

        def ask() -> None:
            nonlocal number
            number += 1
            tag = b"%012d" % number
            asked[tag] = time.perf_counter()
            socket.send(tag, zmq.SNDMORE)
            socket.send(b"", zmq.SNDMORE)
            socket.send(before + tag + after)

        clock = Clock(seconds)
        for _ in range(IN_FLIGHT):
            ask()
        while asked:
            socket.poll()
            back = 0
            with suppress(zmq.Again):
                while True:
                    tag = socket.recv(zmq.NOBLOCK)
                    socket.recv()
                    reply = socket.recv()
                    assert reply.startswith(b"200", said.code_offset), reply
                    back += clock.back(asked.pop(tag))
            for _ in range(back):
                ask()
    return clock.outcome()


@contextmanager
def running(folder: Path) -> Iterator[Measure]:
    """Start a router and the workers."""
    with sides.router(folder) as side:
        processes = []
        try:
            for number in range(WORKERS):
                name = f"worker-{number}"
                processes.append(worker("pipeline_jobs", name, folder, side.link, name))
                processes[-1].wait_for("serving")
            side.await_open()
            yield lambda seconds: _ask(side.front, seconds)
        finally:
            for process in processes:
                process.kill()

"""Monitors: one of this process, and what any of them answers over bare sockets."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pipeline_protocol.monitor.access import listen, listen_address
from pipeline_protocol.monitor.exposition import write
from pipeline_protocol.monitor.feed import Feed
from pipeline_protocol.monitor.histogram import Histogram
from pipeline_protocol.monitor.snapshot import MetricFamily, Snapshot, gauge, histogram_family
from support.pace import paced


def snapshot(jobs: int = 0, *unready: str, padding: int = 0) -> Snapshot:
    """Make one with a metric of each kind; the status is as long as is said, at least."""
    cell = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        cell.observe(value)
    return Snapshot(
        [
            MetricFamily("jobs_total", "counter", "Jobs.", ("channel",), [(("tests",), jobs)]),
            gauge("slots", "Slots.", 4),
        ],
        [histogram_family("run_seconds", "Time.", ("channel",), [(("tests",), cell)])],
        b'{"jobs":%d,"padding":"%s"}' % (jobs, b"x" * padding),
        unready,
    )


class Asked:
    """A monitor somewhere on this machine, asked over bare sockets."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), paced(20))

    def send(self, request: bytes) -> bytes:
        """Send what is no request, perhaps, and return all that comes."""
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)

    def get(self, path: str, *headers: str, host: str = "localhost") -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers]
        return self.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def code(self, path: str, *headers: str, host: str = "localhost") -> int:
        return code_of(self.get(path, *headers, host=host))

    def body(self, path: str) -> bytes:
        return self.get(path).partition(b"\r\n\r\n")[2]


class OwnMonitor(Asked):
    """A monitor of this process, fed as a loop feeds it, only more often."""

    def __init__(self, token: str = "") -> None:
        listener, setup = listen(listen_address("127.0.0.1:0"), token, insecure=False)
        super().__init__(listener.getsockname()[1])
        self.feed = Feed(listener, setup)
        self._shown: Snapshot | None = None
        self._ended = threading.Event()
        self._feeder = threading.Thread(target=self._offer)
        self._feeder.start()

    def _offer(self) -> None:
        while not self._ended.wait(0.05):
            if self._shown is not None:
                self.feed.offer(self._shown)

    def show(self, one: Snapshot) -> None:
        """Feed a snapshot from now on, and wait until it is seen."""
        self._shown = one
        until(lambda: self.get("/status.json").endswith(one.status[1:]))

    def offer_only(self, one: Snapshot) -> None:
        """Feed a snapshot from now on."""
        self._shown = one

    @property
    def process(self) -> int:
        until(lambda: self.feed.pid is not None)
        assert self.feed.pid is not None
        return self.feed.pid

    def close(self) -> None:
        self._ended.set()
        self._feeder.join()
        self.feed.close()


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def code_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


def resident_mb(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise AssertionError("no VmRSS")


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + paced(seconds)
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def samples(text: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    """Read a page of metrics: to each name its values, by its labels, ordered by their names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), (sample.name, labels)
            found[sample.name][labels] = sample.value
    return found


def samples_of(one: Snapshot) -> dict[str, dict[tuple[str, ...], float]]:
    """Read a snapshot as whoever scrapes it would."""
    return samples(write(one, os.getpid()))

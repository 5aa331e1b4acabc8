"""A Prometheus that asks a router's monitor every second, and notes what that takes."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from sides import Side
from support.monitors import Asked, resident_mb

EVERY_S = 1.0


class Scrape(Struct, frozen=True):
    """One look."""

    ms: float
    rss_mb: float
    """Of the monitor's process."""


@contextmanager
def scraped(side: Side) -> Iterator[list[Scrape]]:
    """Scrape a side meanwhile; the list grows."""
    monitor = side.monitor
    assert monitor is not None
    over = threading.Event()
    scrapes: list[Scrape] = []
    with ThreadPoolExecutor(1) as thread:
        scraper = thread.submit(_go_on, side, monitor, over, scrapes)
        try:
            yield scrapes
        finally:
            over.set()
        scraper.result()


def _go_on(side: Side, monitor: Asked, over: threading.Event, scrapes: list[Scrape]) -> None:
    while not (over.wait(EVERY_S) and scrapes):
        began = time.perf_counter()
        answer = monitor.get("/metrics")
        ms = (time.perf_counter() - began) * 1000
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"{side.name}: its monitor says {answer[:100]!r}")
        monitor.get("/status.json")
        scrapes.append(Scrape(ms, max(map(resident_mb, _children(side.pid)))))


def _children(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())

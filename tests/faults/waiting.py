"""Waiting for what happens, and making it happen, while a test goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.pace import paced


def await_that(true: Callable[[], object], seconds: float = 30.0, what: str = "it") -> None:
    """Wait until something is so."""
    until = time.monotonic() + paced(seconds)
    while not true():
        assert time.monotonic() < until, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.01)


@contextmanager
def again_and_again(act: Callable[[], None], every_s: float) -> Iterator[None]:
    """Have something done on and on, on a thread of its own; its error is raised at the end."""
    over = threading.Event()
    failed: list[Exception] = []

    def go_on() -> None:
        while not over.wait(every_s):
            try:
                act()
            except Exception as error:
                failed.append(error)
                return

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
        if failed:
            raise failed[0]

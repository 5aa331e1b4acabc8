"""Containers are discarded after their answers are out, on a thread of its own."""

import threading
from collections import deque
from collections.abc import Callable

from pipeline_containers.sandbox.container.container import Container


class Cleaner:
    """Discards dead containers one by one, in the order in which they come.

    Never more than `most` wait for it: whoever brings one more waits too, so that a host which
    clears away slowly takes new jobs slowly.
    """

    def __init__(self, most: int, discard: Callable[[Container], None]) -> None:
        """`discard` must not raise."""
        self._most = most
        self._discard = discard
        self._waiting: deque[Container] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="cleaner", daemon=True)
        self._thread.start()

    def take(self, container: Container) -> None:
        """Have a container discarded; waits for room only."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._most)
            self._waiting.append(container)
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until everything that was taken is discarded."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)

    def close(self) -> None:
        """Discard what is there, and end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                container = self._waiting[0]
            self._discard(container)
            with self._changed:
                self._waiting.popleft()  # not before: until it is gone it counts
                self._changed.notify_all()

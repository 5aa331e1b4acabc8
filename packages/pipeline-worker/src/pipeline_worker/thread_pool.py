"""A few threads for work in the background, which do not keep the process from ending."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

_log = logging.getLogger(__name__)

Work = Callable[[], None]


class ThreadPool:
    """Does what it is given in order, as much at a time as it has threads."""

    def __init__(self, name: str, threads: int) -> None:
        self._queue: deque[Work] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work) -> None:
        """Have something done; nothing is, once the pool is closed."""
        with self._changed:
            self._queue.append(work)
            self._changed.notify()

    def close(self, seconds: float) -> bool:
        """Begin nothing more, and wait a while for what is being done; whether it ended."""
        with self._changed:
            self._is_closed = True
            self._queue.clear()
            self._changed.notify_all()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # a defect costs one piece of work, not a thread
                _log.exception("work in the background broke off")

    def _next(self) -> Work | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            return None if self._is_closed else self._queue.popleft()

"""Layers that several pulls want at the same time: one fetches, the others wait for what it has."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TURN_S = 0.1


class Sharing:
    """What the pulls of this process are fetching."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._fetched: set[str] = set()

    @contextmanager
    def held(self, wanted: Callable[[], set[str]], left_s: Callable[[], float]) -> Iterator[None]:
        """Hold what is `wanted`, by digest, once no other pull is fetching any of it.

        What came meanwhile is waited for no longer. `left_s` raises when there is no more time.
        """
        with self._changed:
            while self._fetched & (mine := wanted()):
                self._changed.wait(min(_TURN_S, left_s()))
            self._fetched |= mine
        try:
            yield
        finally:
            with self._changed:
                self._fetched -= mine
                self._changed.notify_all()

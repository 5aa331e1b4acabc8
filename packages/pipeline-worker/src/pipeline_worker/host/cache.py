"""What builds leave is kept to make the next ones fast, until it is too much."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from pipeline_containers.errors import ContainersError
from pipeline_containers.system.disk import folder_bytes

_log = logging.getLogger(__name__)

_CLOSE_S = 10.0


class CacheLimits(Struct, frozen=True):
    """How much a builder's cache may be, and when it is looked at."""

    cache_bytes: int = 20 << 30
    free_share: float = 0.1
    """Of the disk: where less is free, and the cache has more than that, the cache goes."""
    idle_s: float = 60.0
    """Without a build, before it is looked at."""


def too_much(limits: CacheLimits, cache_bytes: int, free_bytes: int, disk_bytes: int) -> str:
    """Return why a cache must go; nothing if it may stay."""
    if cache_bytes > limits.cache_bytes:
        return f"it has {cache_bytes} bytes, and {limits.cache_bytes} are allowed"
    if free_bytes < disk_bytes * limits.free_share and free_bytes < cache_bytes:
        return f"it has {cache_bytes} bytes, and {free_bytes} are free on its disk"
    return ""


class CacheKeeper:
    """Prunes a builder's cache when it is too much, and only while nothing is built."""

    def __init__(
        self, folder: Path, prune: Callable[[], None], limits: CacheLimits | None = None
    ) -> None:
        """`prune` removes what is in `folder`; it may raise ContainersError or OSError."""
        self._folder = folder
        self._prune = prune
        self._limits = limits or CacheLimits()
        self._changed = threading.Condition()
        self._building = 0
        self._is_pruning = False
        self._is_due = True  # what the process before left was not looked at
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="housekeeping", daemon=True)
        self._thread.start()

    @contextmanager
    def building(self) -> Iterator[None]:
        """Build in this block: nothing is pruned meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_pruning)
            self._building += 1
        try:
            yield
        finally:
            with self._changed:
                self._building -= 1
                self._is_due = True
                self._changed.notify_all()

    def close(self) -> None:
        """End, after what is being pruned if that is soon."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        while self._await_idleness():
            reason = self._look()
            if not reason:
                continue
            with self._changed:
                if self._building:
                    continue  # it is due again when that build has ended
                self._is_pruning = True
            try:
                _log.info("pruning the builder's cache: %s", reason)
                self._prune()
            except (ContainersError, OSError) as error:
                _log.warning("the builder's cache could not be pruned: %s", error)
            finally:
                with self._changed:
                    self._is_pruning = False
                    self._changed.notify_all()

    def _await_idleness(self) -> bool:
        """Wait until it is time to look; false at the end."""
        with self._changed:
            while not self._is_closed:
                self._changed.wait_for(self._may_look_soon)
                if not self._is_closed and not self._changed.wait_for(
                    lambda: self._building or self._is_closed, self._limits.idle_s
                ):
                    self._is_due = False
                    return True
            return False

    def _may_look_soon(self) -> bool:
        return self._is_closed or (self._is_due and not self._building)

    def _look(self) -> str:
        disk = os.statvfs(self._folder)
        free_bytes, disk_bytes = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        return too_much(self._limits, folder_bytes(self._folder), free_bytes, disk_bytes)

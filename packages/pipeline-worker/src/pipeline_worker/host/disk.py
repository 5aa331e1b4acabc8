"""How much room the working folder's disk has, looked at by a thread: a disk may hang."""

import os
import threading
from pathlib import Path

from pipeline_worker.counters import Room

EVERY_S = 5.0


class DiskWatch:
    """Knows the room as of a few seconds ago."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.room: Room | None = None
        """None: it could not be looked at."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="disk", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        while True:
            try:
                seen = os.statvfs(self._path)
            except OSError:
                self.room = None
            else:
                unit = seen.f_frsize
                self.room = Room(seen.f_bavail * unit, seen.f_blocks * unit, seen.f_favail)
            if self._ended.wait(EVERY_S):
                return

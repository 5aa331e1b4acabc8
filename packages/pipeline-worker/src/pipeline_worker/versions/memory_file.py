"""What a worker remembers, in a file beside its store: written whole, by a thread of its own."""

import logging
import os
import threading
from pathlib import Path

import msgspec

from pipeline_worker.thread_pool import ThreadPool
from pipeline_worker.versions.retention import Memory

_log = logging.getLogger(__name__)
_MAX_BYTES = 16 << 20


class MemoryFile:
    """One worker's memory. `write` is for one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._latest: Memory | None = None
        self._threads = ThreadPool("memory", 1)

    def read(self) -> Memory:
        """Return what was written last; if that is of no use, what a new worker knows: nothing."""
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_BYTES)
            return msgspec.json.decode(data, type=Memory)
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError) as error:
            _log.warning("%s is of no use, and begun anew: %s", self._path, error)
            return Memory()

    def write(self, memory: Memory) -> None:
        """Write it down, soon; of several the last."""
        with self._lock:
            self._latest = memory
        self._threads.submit(self._save)

    def close(self, seconds: float) -> None:
        """Have everything on disk, unless that takes too long."""
        done = threading.Event()
        self._threads.submit(done.set)
        done.wait(seconds)
        self._threads.close(seconds)

    def _save(self) -> None:
        with self._lock:
            memory, self._latest = self._latest, None
        if memory is None:
            return
        aside = self._path.with_name(f"{self._path.name}.new")
        try:
            with aside.open("wb") as file:
                file.write(msgspec.json.encode(memory))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._path, error)

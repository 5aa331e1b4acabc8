"""The locks on files that containers hold: memory of the kernel's that no cgroup counts.

A process can lock every byte of a file for itself, with 200 bytes of memory for each lock; nothing
limits how many (RLIMIT_LOCKS is without effect). The kernel lists those of the whole host, so they
are counted there while containers run. Locks that are of open files, and not of processes, are no
more than open files are, which are counted; those that could be more have no process to go by, and
are refused (`seccomp.py`). Source: proc_locks(5), the kernel's `fs/locks.c`.
"""

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache

from pipeline_containers.sandbox.limits import FILE_LOCKS

LOOK_S = 0.05
"""The kernel lets nobody lock while it lists, and takes some ms to begin: not more often."""
_LINES_BYTES = 4 * 1024 * 1024
"""No more is read of the list: 70,000 locks, the latest first."""
_FEW_BYTES = 32 * FILE_LOCKS
"""Fewer than so many locks: a line has more."""
_HOLDER = re.compile(rb" (\d+) [0-9a-f]+:[0-9a-f]+:\d+ ")


def count_holders(text: bytes) -> Counter[int]:
    """Count the locks of each process in the text of `/proc/locks`."""
    return Counter(map(int, _HOLDER.findall(text)))


class LockCount:
    """Counts the locks of containers while the list is read, to stop when one has too many.

    `container_of` says which container a process is of.
    """

    def __init__(self, container_of: Callable[[int], str]) -> None:
        self._container_of = cache(container_of)
        self._rest = b""
        self.of: Counter[str] = Counter()
        """By container."""

    def add(self, text: bytes) -> None:
        """Count what was read next, which may end within a line."""
        lines, newline, self._rest = (self._rest + text).rpartition(b"\n")
        for pid, count in count_holders(lines + newline).items():
            self.of[self._container_of(pid)] += count

    def over(self, containers: Collection[str]) -> set[str]:
        """Return which of these have more than `FILE_LOCKS`."""
        return {name for name in containers if self.of[name] > FILE_LOCKS}


class FileLockWatch:
    """Looks at the locks of containers that run, on a thread of its own, as long as any do."""

    def __init__(self) -> None:
        self._followed: Counter[str] = Counter()
        self._over: set[str] = set()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="file locks", daemon=True)
        self._thread.start()

    def follow(self, init: int) -> str:
        """Look at a container's locks from now on, by its first process; what to ask by.

        Nothing if that is dead.
        """
        container = _pid_namespace(init)
        if container:
            with self._changed:
                self._followed[container] += 1
                self._changed.notify_all()
        return container

    def is_over(self, container: str) -> bool:
        """Return whether a container was seen with more than `FILE_LOCKS`."""
        return container in self._over

    def leave(self, container: str) -> None:
        """Look no more at one that is dead."""
        with self._changed:
            del self._followed[container]
            self._over.discard(container)

    def close(self) -> None:
        """End."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._followed or self._is_closed)
                if self._changed.wait_for(lambda: self._is_closed, LOOK_S):
                    return
                followed = set(self._followed)
            over = _look(followed)
            with self._changed:
                self._over |= over & self._followed.keys()


def _look(followed: Collection[str]) -> set[str]:
    """Read the list until some of these have too many, or to its end; which those are.

    The kernel gives a page at a time, and each costs it a turn of all processors: with a million
    locks on the host, whoever read on would be seconds late.
    """
    count, read = LockCount(_pid_namespace), 0
    with suppress(OSError), open("/proc/locks", "rb", buffering=0) as file:  # hidden: none
        while read < _LINES_BYTES and (some := file.read(65_536)):
            read += len(some)
            count.add(some)
            if read > _FEW_BYTES and (over := count.over(followed)):
                return over
    return set()


def _pid_namespace(pid: int) -> str:
    """Name the pid namespace of a process, which a container has to itself; empty if it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""

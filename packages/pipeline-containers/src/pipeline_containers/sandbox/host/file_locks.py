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
from collections.abc import Callable, Mapping
from contextlib import suppress

from pipeline_containers.sandbox.limits import FILE_LOCKS

LOOK_S = 0.05
"""The kernel lets nobody lock while it lists, and takes some ms to begin: not more often."""
_LINES_BYTES = 4 * 1024 * 1024
"""No more is read of the list: 70,000 locks, the latest first."""
_HOLDER = re.compile(rb" (\d+) [0-9a-f]+:[0-9a-f]+:\d+ ")


def count_holders(text: bytes) -> Counter[int]:
    """Count the locks of each process in the text of `/proc/locks`."""
    return Counter(map(int, _HOLDER.findall(text)))


def sum_up(holders: Mapping[int, int], container_of: Callable[[int], str]) -> Counter[str]:
    """Sum up the locks of containers, by what `container_of` says of a process."""
    found: Counter[str] = Counter()
    for pid, count in holders.items():
        found[container_of(pid)] += count
    return found


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
            holders = count_holders(_read_list())
            if holders.total() > FILE_LOCKS:
                found = sum_up(holders, _pid_namespace)
                with self._changed:
                    over = {name for name, count in found.items() if count > FILE_LOCKS}
                    self._over |= over & self._followed.keys()


def _read_list() -> bytes:
    text = bytearray()
    with suppress(OSError), open("/proc/locks", "rb", buffering=0) as file:  # hidden: none
        while len(text) < _LINES_BYTES and (some := file.read(65_536)):
            text += some
    return bytes(text)


def _pid_namespace(pid: int) -> str:
    """Name the pid namespace of a process, which a container has to itself; empty if it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""
